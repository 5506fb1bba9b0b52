"""Changes the objects of an S3 server with boto3.

What to do comes as JSON on stdin: the server, and a list of steps, each with `bucket` to make one, with `put`
(a key) and the `file` to send, in parts of 5 MiB where `parts` is true, or with `delete` (a key).
"""

import json
import sys

import boto3
from botocore.config import Config

BUCKET = "models"
PART = 5 << 20

work = json.load(sys.stdin)
server = work["server"]
client = boto3.client(
    "s3",
    endpoint_url=server["endpoint"],
    region_name=server["region"],
    aws_access_key_id=server["accessKeyId"],
    aws_secret_access_key=server["secretAccessKey"],
    config=Config(s3={"addressing_style": "path"}),
)


def put_in_parts(key, file):
    upload = client.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"]
    parts = []
    while data := file.read(PART):
        number = len(parts) + 1
        part = client.upload_part(Bucket=BUCKET, Key=key, UploadId=upload, PartNumber=number, Body=data)
        parts.append({"PartNumber": number, "ETag": part["ETag"]})
    client.complete_multipart_upload(
        Bucket=BUCKET, Key=key, UploadId=upload, MultipartUpload={"Parts": parts}
    )
    return len(parts)


for step in work["steps"]:
    if "bucket" in step:
        place = {"LocationConstraint": server["region"]}
        client.create_bucket(Bucket=step["bucket"], CreateBucketConfiguration=place)
    elif "delete" in step:
        client.delete_object(Bucket=BUCKET, Key=step["delete"])
    else:
        with open(step["file"], "rb") as file:
            if step.get("parts"):
                print(put_in_parts(step["put"], file))
            else:
                client.put_object(Bucket=BUCKET, Key=step["put"], Body=file)
