"""Google Cloud Storage, JSON API v1: enough for uploads, downloads, deletes and who may do them.

Uploads are multipart or resumable, with preconditions (``ifGenerationMatch``,
``ifMetagenerationMatch``). ``POST /token`` is the place where a service account gets its access
token (RFC 7523). Faults of its own, in ``Faults.other``: ``chunk_503`` (the first piece of an
upload is refused once), ``lost_upload`` (the last piece is taken and the connection breaks before
the answer, once), ``delete_403``.
"""

from __future__ import annotations

import base64
import email.parser
import email.policy
import hashlib
import itertools
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from tests.simulators.core import Dropped
from tests.simulators.google_http import Answer, HttpSimulator, Request, json_answer

BUCKET: Final = "recordings"
_STEP_BYTES: Final = 256 * 1024
_RANGE: Final = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")


@dataclass(slots=True)
class StoredObject:
    """An object in a bucket."""

    content: bytes = field(repr=False)
    generation: int
    metadata: dict[str, str]
    content_type: str


@dataclass(slots=True)
class Upload:
    """A resumable upload under way."""

    place: tuple[str, str]
    query: dict[str, str]
    resource: dict[str, Any]
    content: bytearray = field(default_factory=bytearray)
    done: bool = False


class Simulator(HttpSimulator):
    """The service, with one bucket."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.buckets = {BUCKET}
        self.objects: dict[tuple[str, str], StoredObject] = {}
        """By bucket and name."""
        self.tokens: set[str] = set()
        """Access tokens that were given out."""
        self.anonymous = False
        """Let everybody in, as an emulator does."""
        self.finished_uploads = 0
        """Objects that were made."""
        self.deletes = 0
        self.requests: list[str] = []
        self._uploads: dict[str, Upload] = {}
        self._generations = itertools.count(1_700_000_000_000_001)
        self._spent: set[str] = set()

    def options(self, directory: Path) -> dict[str, Any]:
        """Return the options that lead here; the key of a service account goes to ``directory``."""
        key_file = directory / "service-account.json"
        key_file.write_text(json.dumps(self.service_account()))
        key_file.chmod(0o600)
        return {"storage_url": self.url, "credentials_file": str(key_file)}

    def service_account(self) -> dict[str, str]:
        """Return a key that is good for tokens from here."""
        return {
            "type": "service_account",
            "project_id": "test",
            "private_key_id": "1",
            "private_key": _private_key(),
            "client_email": "stt-edge@test.iam.gserviceaccount.com",
            "client_id": "1",
            "token_uri": self.url + "token",
        }

    async def answer(self, request: Request) -> Answer:
        self.requests.append(f"{request.method} {request.path}")
        if (request.method, request.path) == ("POST", "/token"):
            return self._token(request)
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if (scheme != "Bearer" or token not in self.tokens) and not self.anonymous:
            return self._error(401, "Invalid Credentials", "authError")
        match request.parts:
            case ["upload", "storage", "v1", "b", bucket, "o"]:
                return self._upload(request, bucket)
            case ["storage", "v1", "b", bucket] if bucket in self.buckets:
                about = {"kind": "storage#bucket", "id": bucket, "name": bucket, "location": "EU"}
                return json_answer(about)
            case ["storage", "v1", "b", bucket, "o", name]:
                return self._object(request, (bucket, name))
            case ["download", "storage", "v1", "b", bucket, "o", name]:
                return self._download((bucket, name))
        return self._error(404, "Not Found", "notFound")

    def _token(self, request: Request) -> Answer:
        form = dict(pair.split("=", 1) for pair in request.body.decode().split("&"))
        if unquote(form.get("grant_type", "")) != "urn:ietf:params:oauth:grant-type:jwt-bearer":
            return json_answer({"error": "unsupported_grant_type"}, 400)
        claims = json.loads(base64.urlsafe_b64decode(form["assertion"].split(".")[1] + "=="))
        if (
            claims["iss"] != self.service_account()["client_email"]
            or "invalid_grant" in self.faults
        ):
            return json_answer({"error": "invalid_grant", "error_description": "No."}, 400)
        token = f"ya29.{len(self.tokens)}-{self.key}"
        self.tokens.add(token)
        return json_answer({"access_token": token, "expires_in": 3599, "token_type": "Bearer"})

    def _upload(self, request: Request, bucket: str) -> Answer:
        if bucket not in self.buckets:
            return self._error(404, "The specified bucket does not exist.", "notFound")
        match request.method, request.query.get("uploadType"):
            case "POST", "resumable":
                return self._begin(request, bucket)
            case "PUT", _ if request.query.get("upload_id") in self._uploads:
                return self._continue(request, request.query["upload_id"])
            case "POST", "multipart":
                resource, content = _multipart(request)
                place = bucket, resource.get("name") or request.query["name"]
                return self._finish(Upload(place, request.query, resource, bytearray(content)))
        return self._error(400, "Invalid upload request", "badRequest")

    def _begin(self, request: Request, bucket: str) -> Answer:
        resource = json.loads(request.body or b"{}")
        place = bucket, resource.get("name") or request.query["name"]
        if refused := self._precondition(place, request.query):
            return refused
        number = str(len(self._uploads) + 1)
        self._uploads[number] = Upload(place, request.query, resource)
        where = f"{self.url}upload/storage/v1/b/{bucket}/o?uploadType=resumable&upload_id={number}"
        return Answer(200, b"", {"Location": where, "X-GUploader-UploadID": number})

    def _continue(self, request: Request, number: str) -> Answer:
        upload = self._uploads[number]
        found = _RANGE.fullmatch(request.headers.get("content-range", ""))
        if found is None:
            return self._error(400, "Invalid Content-Range", "badRequest")
        if upload.done:  # asked again because the answer was lost
            return json_answer(self._resource(upload.place))
        if found[1] is None:  # how much has come?
            return self._more(upload)
        if self._once("chunk_503"):
            return self._error(503, "Backend Error", "backendError")
        first, last = int(found[1]), int(found[2])
        if first != len(upload.content) or last - first + 1 != len(request.body):
            return self._error(400, "Bytes out of order", "badRequest")
        upload.content += request.body
        if found[3] == "*" or len(upload.content) < int(found[3]):
            if len(request.body) % _STEP_BYTES:
                return self._error(400, "Pieces are multiples of 256 KiB", "badRequest")
            return self._more(upload)
        answer = self._finish(upload)
        if self._once("lost_upload"):
            raise Dropped
        return answer

    def _more(self, upload: Upload) -> Answer:
        had = len(upload.content)
        return Answer(308, b"", {"Range": f"bytes=0-{had - 1}"} if had else {})

    def _finish(self, upload: Upload) -> Answer:
        if refused := self._precondition(upload.place, upload.query):
            return refused
        self.finished_uploads += 1
        upload.done = True
        self.objects[upload.place] = StoredObject(
            bytes(upload.content),
            next(self._generations),
            dict(upload.resource.get("metadata") or {}),
            upload.resource.get("contentType", "application/octet-stream"),
        )
        return json_answer(self._resource(upload.place))

    def _object(self, request: Request, place: tuple[str, str]) -> Answer:
        if place not in self.objects:
            return self._error(404, f"No such object: {'/'.join(place)}", "notFound")
        if refused := self._precondition(place, request.query):
            return refused
        if request.method == "GET":
            if request.query.get("alt") == "media":
                return self._download(place)
            return json_answer(self._resource(place))
        if request.method == "DELETE":
            if "delete_403" in self.faults:
                return self._error(403, "does not have storage.objects.delete access", "forbidden")
            del self.objects[place]
            self.deletes += 1
            return Answer(204)
        return self._error(405, "Method not allowed", "badRequest")

    def _download(self, place: tuple[str, str]) -> Answer:
        if place not in self.objects:
            return self._error(404, "Not Found", "notFound")
        found = self.objects[place]
        hashes = {"X-Goog-Hash": f"crc32c={_crc32c(found.content)}"}
        return Answer(200, found.content, {"Content-Type": found.content_type, **hashes})

    def _precondition(self, place: tuple[str, str], query: dict[str, str]) -> Answer | None:
        """Return 412 where a condition is not met; generation 0 is 'there is none'."""
        found = self.objects.get(place)
        there = 0 if found is None else found.generation
        for wanted in (query.get("ifGenerationMatch"), query.get("generation")):
            if wanted is not None and int(wanted) != there:
                return self._error(
                    412, "At least one of the pre-conditions did not hold.", "conditionNotMet"
                )
        return None

    def _resource(self, place: tuple[str, str]) -> dict[str, Any]:
        found = self.objects[place]
        return {
            "kind": "storage#object",
            "id": f"{place[0]}/{place[1]}/{found.generation}",
            "bucket": place[0],
            "name": place[1],
            "generation": str(found.generation),
            "metageneration": "1",
            "contentType": found.content_type,
            "size": str(len(found.content)),
            "md5Hash": base64.b64encode(hashlib.md5(found.content).digest()).decode(),
            "crc32c": _crc32c(found.content),
            "metadata": found.metadata,
        }

    def _once(self, fault: str) -> bool:
        if fault not in self.faults or fault in self._spent:
            return False
        self._spent.add(fault)
        return True

    def _error(self, status: int, message: str, reason: str) -> Answer:
        self.refusals += 1
        errors = [{"message": message, "domain": "global", "reason": reason}]
        return json_answer(
            {"error": {"code": status, "message": message, "errors": errors}}, status
        )


def _multipart(request: Request) -> tuple[dict[str, Any], bytes]:
    """Return the two parts of a multipart/related upload."""
    kind = request.headers["content-type"].encode()
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(
        b"Content-Type: " + kind + b"\r\n\r\n" + request.body
    )
    described, content = message.iter_parts()
    resource, sound = (part.get_payload(decode=True) for part in (described, content))
    assert isinstance(resource, bytes)
    assert isinstance(sound, bytes)
    return json.loads(resource), sound


def _crc32c(content: bytes) -> str:
    import google_crc32c

    return base64.b64encode(google_crc32c.value(content).to_bytes(4)).decode()


def _private_key() -> str:
    """Return an RSA key in PEM; one for the whole process, it takes a while to make."""
    if not _keys:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import rsa

        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        _keys.append(pem.decode())
    return _keys[0]


_keys: list[str] = []
