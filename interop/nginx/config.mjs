import { SECRET } from "./upstream.mjs";

/**
 * The configuration: three servers (the user's, another one that redirects lead to, and one behind the first), and on
 * each a location for every case. All paths are relative to the folder that nginx is started with.
 */
export function configuration(cases, ports) {
  const locations = (server) =>
    cases.map((one) => `    location /${one.key}/ {\n      ${one[server] ?? ""}\n    }`).join("\n");
  return `
${process.getuid?.() === 0 ? "user root;" : ""}
worker_processes 1;
daemon off;
pid nginx.pid;
events { worker_connections 512; }
http {
  default_type application/octet-stream;
  root files;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  log_format requests escape=json '{"port":$server_port,"uri":"$request_uri","status":$status,'
    '"bytes":$body_bytes_sent,"range":"$http_range","connection":$connection,'
    '"authorization":"$http_authorization","key":"$http_x_key"}';
  access_log access.log requests;
  proxy_http_version 1.0;
  proxy_cache_path slices keys_zone=slices:1m;
  proxy_cache_path cache keys_zone=cache:1m;
  limit_req_zone $server_port zone=requests:1m rate=20r/s;
  limit_req_zone $server_port zone=rare:1m rate=1r/s;
  limit_conn_zone $server_port zone=connections:1m;
  split_clients $request_id $luck { 20% "error"; 15% "silence"; * "good"; }
  split_clients $request_id $mirror { 50% files; * mirror; }
  server {
    listen 127.0.0.1:${ports.first};
${locations("first")}
    location /internal/ { internal; }
    location = /status { stub_status; access_log off; }
  }
  server {
    listen 127.0.0.1:${ports.second};
    secure_link $arg_signature,$arg_expires;
    secure_link_md5 "$secure_link_expires$uri ${SECRET}";
${locations("second")}
  }
  server {
    listen 127.0.0.1:${ports.behind};
    access_log off;
${locations("behind")}
  }
}
`;
}
