"""Uploads a file with tuspy, over as many attempts as it takes; reads what is to be done as JSON."""

import json
import sys
import time

import urllib3
from tusclient.client import TusClient
from tusclient.exceptions import TusCommunicationError, TusUploadFailed

# The registry's certificate is its own; tuspy cannot pin it.
urllib3.disable_warnings()

task = json.load(sys.stdin)
client = TusClient(task["url"], client_cert=(task["certificate"], task["key"]))
location = None
for attempt in range(task["attempts"]):
    try:
        uploader = client.uploader(
            task["file"],
            url=location,
            metadata=task["metadata"],
            chunk_size=task["chunk_size"],
            upload_checksum=task["checksum"],
            verify_tls_cert=False,
        )
        if location is None:
            location = uploader.create_url()
            uploader.set_url(location)
        uploader.upload()
        print(f"done after {attempt} cuts")
        break
    except (TusCommunicationError, TusUploadFailed) as error:
        print(f"cut: {error!r}", file=sys.stderr)
        time.sleep(0.3)
else:
    sys.exit("never done")
