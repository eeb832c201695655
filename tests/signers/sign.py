"""Signs URLs with botocore: reads a JSON list of what is to be signed, writes one of signed URLs."""

import json
import sys
from datetime import datetime, timezone

from botocore.signers import CloudFrontSigner
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key


def sign(task):
    with open(task["private_key"], "rb") as file:
        key = load_pem_private_key(file.read(), None)
    hash_algorithm = SHA256() if task["sha256"] else SHA1()

    def sign_policy(policy):
        if isinstance(key, EllipticCurvePrivateKey):
            return key.sign(policy, ECDSA(hash_algorithm))
        return key.sign(policy, PKCS1v15(), hash_algorithm)

    expires = datetime.fromtimestamp(task["expires"], timezone.utc)
    signer = CloudFrontSigner(task["keypair_id"], sign_policy)
    return signer.generate_presigned_url(task["url"], date_less_than=expires)


json.dump([sign(task) for task in json.load(sys.stdin)], sys.stdout)
