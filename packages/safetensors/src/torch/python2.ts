/** Module names of Python 2 and what Python 3 takes them for (its `_compat_pickle`), without those of Tk. */
const MODULES = new Map([
  ["__builtin__", "builtins"],
  ["exceptions", "builtins"],
  ["copy_reg", "copyreg"],
  ["cPickle", "pickle"],
  ["commands", "subprocess"],
  ["thread", "_thread"],
  ["UserDict", "collections"],
  ["UserList", "collections"],
  ["UserString", "collections"],
  ["_abcoll", "collections.abc"],
  ["StringIO", "io"],
  ["cStringIO", "io"],
  ["Queue", "queue"],
  ["ConfigParser", "configparser"],
  ["repr", "reprlib"],
  ["_winreg", "winreg"],
  ["anydbm", "dbm"],
  ["dbhash", "dbm.bsd"],
  ["dumbdbm", "dbm.dumb"],
  ["gdbm", "dbm.gnu"],
  ["whichdb", "dbm"],
  ["SocketServer", "socketserver"],
  ["BaseHTTPServer", "http.server"],
  ["SimpleHTTPServer", "http.server"],
  ["CGIHTTPServer", "http.server"],
  ["DocXMLRPCServer", "xmlrpc.server"],
  ["SimpleXMLRPCServer", "xmlrpc.server"],
  ["xmlrpclib", "xmlrpc.client"],
  ["httplib", "http.client"],
  ["Cookie", "http.cookies"],
  ["cookielib", "http.cookiejar"],
  ["urllib2", "urllib.request"],
  ["urlparse", "urllib.parse"],
  ["robotparser", "urllib.robotparser"],
  ["HTMLParser", "html.parser"],
  ["htmlentitydefs", "html.entities"],
  ["markupbase", "_markupbase"],
  ["_elementtree", "xml.etree.ElementTree"],
  ["test.test_support", "test.support"],
]);

/** Names that moved or were renamed, after the change of the module's name. */
const NAMES = new Map([
  ["builtins.xrange", "builtins.range"],
  ["builtins.unicode", "builtins.str"],
  ["builtins.basestring", "builtins.str"],
  ["builtins.long", "builtins.int"],
  ["builtins.unichr", "builtins.chr"],
  ["builtins.reduce", "functools.reduce"],
  ["builtins.intern", "sys.intern"],
  ["builtins.StandardError", "builtins.Exception"],
  ["itertools.izip", "builtins.zip"],
  ["itertools.imap", "builtins.map"],
  ["itertools.ifilter", "builtins.filter"],
  ["collections.IterableUserDict", "collections.UserDict"],
]);

/** The module and name under which today's Python finds what a pickle of Python 2 names. */
export function modernName(module: string, name: string): { module: string; name: string } {
  const modern = MODULES.get(module) ?? module;
  const moved = NAMES.get(`${modern}.${name}`);
  if (moved === undefined) return { module: modern, name };
  const dot = moved.lastIndexOf(".");
  return { module: moved.slice(0, dot), name: moved.slice(dot + 1) };
}
