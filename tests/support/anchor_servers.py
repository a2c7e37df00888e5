"""Servers that anchors talk to: any endpoint of HTTP, a time-stamping authority on openssl, a C2SP witness."""

import socket
import subprocess
import time
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tlog_scales.signing import Ed25519CosignatureVerifier, MLDSA44CosignatureSigner, NoteSignature, Vkey
from tlog_scales.tlog import Checkpoint, ConsistencyProof, ConsistencyProofInvalid

from pgaudit.sealing.notes import COSIGNATURE, MLDSA44, VerifierKey

TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True)
class Request:
    """What a client sent."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Reply:
    """What the server answers."""

    status: int = 200
    body: bytes = b""
    content_type: str = TEXT
    headers: dict[str, str] = field(default_factory=dict)


Response = Callable[[Request], Reply]


@contextmanager
def serving(answer: Response) -> Iterator[str]:
    """Serves the answers of that function; yields the URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            reply = answer(Request(self.command, self.path, dict(self.headers), body))
            self.send_response(reply.status)
            headers = {"Content-Type": reply.content_type, "Content-Length": str(len(reply.body)), **reply.headers}
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(reply.body)

        do_GET = do_POST  # noqa: N815 - the name that http.server calls

        def log_message(self, *_: Any) -> None:
            """Nothing is printed into the report of the tests."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def serving_bytes(reply: bytes) -> Iterator[str]:
    """Serves one connection, with these bytes whatever it is asked; yields the URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(reply)

        thread = Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


class Inbox:
    """An endpoint that keeps the notes that are posted, and returns them."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.status = 200
        self.released = Event()
        self.released.set()

    @property
    def notes(self) -> list[str]:
        """The notes that were taken."""
        return [request.body.decode() for request in self.requests if request.method == "POST"]

    def answer(self, request: Request) -> Reply:
        """Takes a note, or returns all of them; waits for the release first."""
        self.released.wait(60)
        if request.method == "GET":
            return Reply(body="".join(self.notes).encode())
        if self.status == 200:
            self.requests.append(request)
        return Reply(self.status, b"you sent: " + str(request.headers).encode())


EXTENSIONS = """\
[tsa]
default_tsa = tsa_config
[tsa_config]
serial = {directory}/serial
crypto_device = builtin
signer_cert = {directory}/tsa.pem
signer_key = {directory}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
[req]
distinguished_name = name
prompt = no
[name]
CN = Time stamps of the tests
[authority]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign
subjectKeyIdentifier = hash
[stamps]
extendedKeyUsage = critical, timeStamping
keyUsage = critical, digitalSignature
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""


class TimeStampingAuthority:
    """``openssl ts -reply`` behind HTTP, with a certificate authority of its own in ``roots``.

    The configuration names no chain (``certs``): OpenSSL 3.0 would write its certificates unsorted, which is no DER.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.roots = directory / "roots.pem"
        (directory / "openssl.cnf").write_text(EXTENSIONS.format(directory=directory))
        (directory / "serial").write_text("01")
        key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -config openssl.cnf"
        self.run(f"req -x509 {key} -extensions authority -keyout ca.key -out roots.pem -days 3650")
        self.run(f"req {key} -keyout tsa.key -out tsa.csr -subj /CN=tsa")
        sign = "-CA roots.pem -CAkey ca.key -CAcreateserial -extfile openssl.cnf -extensions stamps"
        self.run(f"x509 -req -in tsa.csr {sign} -out tsa.pem -days 3650")

    def run(self, arguments: str) -> None:
        """Runs openssl in the directory."""
        subprocess.run(["openssl", *arguments.split()], cwd=self.directory, check=True, capture_output=True)

    def answer(self, request: Request) -> Reply:
        """Returns a time stamp."""
        (self.directory / "query").write_bytes(request.body)
        self.run("ts -reply -config openssl.cnf -queryfile query -out reply")
        return Reply(200, (self.directory / "reply").read_bytes(), "application/timestamp-reply")

    def verifies(self, reply: bytes, text: bytes) -> bool:
        """Returns whether ``openssl ts -verify`` accepts a reply for that text."""
        (self.directory / "received").write_bytes(reply)
        (self.directory / "text").write_bytes(text)
        verify = "openssl ts -verify -data text -in received -CAfile roots.pem -untrusted tsa.pem"
        return subprocess.run(verify.split(), cwd=self.directory, check=False, capture_output=True).returncode == 0


class Ed25519CosignatureSigner:
    """Cosigns with a time, in the older of the two forms that C2SP ``tlog-cosignature`` has."""

    def __init__(self, name: str, seed: bytes) -> None:
        self.key = Ed25519PrivateKey.from_private_bytes(seed)
        self.vkey = Vkey(name, None, COSIGNATURE, self.key.public_key().public_bytes_raw())

    def sign(self, checkpoint: Checkpoint) -> NoteSignature:
        """Returns the signature of a checkpoint, which the library finds valid."""
        now = int(time.time())
        made = self.key.sign(f"cosignature/v1\ntime {now}\n{checkpoint.serialize_body()}".encode())
        signature = NoteSignature.from_vkey_signature(self.vkey, now.to_bytes(8, "big") + made)
        Ed25519CosignatureVerifier(self.vkey).verify_note(signature, checkpoint)
        return signature


SIGNERS: dict[int, type[Ed25519CosignatureSigner] | type[MLDSA44CosignatureSigner]] = {
    COSIGNATURE: Ed25519CosignatureSigner,
    MLDSA44: MLDSA44CosignatureSigner,
}


class Witness:
    """A witness of one log, as C2SP ``tlog-witness`` says, which remembers the last checkpoint in memory."""

    def __init__(self, log: str, name: str = "witness.example.com", kind: int = MLDSA44) -> None:
        self.name, self.kind = name, kind
        self.signer = SIGNERS[kind](name, bytes(range(32)))
        self.log = Vkey.from_string(log)
        self.size = 0
        self.root = sha256().digest()
        self.statuses: list[int] = []

    @property
    def vkey(self) -> str:
        """Its public key."""
        return str(VerifierKey(self.name, self.kind, self.signer.key.public_key().public_bytes_raw()))

    def answer(self, request: Request) -> Reply:
        """Cosigns a checkpoint that follows the last one."""
        reply = self.add_checkpoint(request) if request.path.endswith("/add-checkpoint") else Reply(404)
        self.statuses.append(reply.status)
        return reply

    def add_checkpoint(self, request: Request) -> Reply:
        """Checks origin, signature, old size and proof, in the order of the specification."""
        head, _, text = request.body.decode().partition("\n\n")
        old_line, *hashes = head.split("\n")
        old, checkpoint = int(old_line.removeprefix("old ")), Checkpoint.from_text(text)
        if status := self.refusal(checkpoint, old):
            return Reply(status)
        if old != self.size:
            return Reply(409, f"{self.size}\n".encode(), "text/x.tlog.size")
        if checkpoint.size == self.size and checkpoint.root_hash != self.root:
            return Reply(409)
        if not self.follows(checkpoint, [b64decode(line) for line in hashes]):
            return Reply(422)
        self.size, self.root = checkpoint.size, checkpoint.root_hash
        return Reply(200, f"{self.signer.sign(checkpoint).serialize()}\n".encode())

    def refusal(self, checkpoint: Checkpoint, old: int) -> int:
        """Returns the status of what is refused before anything is compared; 0 if nothing is."""
        if checkpoint.origin != self.log.name:
            return 404
        try:
            checkpoint.verify(self.log)
        except (InvalidSignature, RuntimeError):  # RuntimeError: no line is of that key
            return 403
        return 400 if old > checkpoint.size else 0

    def follows(self, checkpoint: Checkpoint, proof: list[bytes]) -> bool:
        """Returns whether a proof shows that the log begins with the last checkpoint."""
        try:
            ConsistencyProof(self.size, checkpoint.size, proof).check(self.root, checkpoint.root_hash)
        except ConsistencyProofInvalid:
            return self.size == 0 and not proof
        return True
