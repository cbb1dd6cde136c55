"""Certificates of a service that accepts only its own programs: mutual TLS on loopback."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from flows.local_stack.state import HOST
from vitau.store.atomic import atomic_path

AUTHORITY: Final = "authority.crt"
CERTIFICATE: Final = "own.crt"
KEY: Final = "own.key"
_VALID: Final = timedelta(days=36_500)  # it dies with the state folder


def make_certificates(folder: Path) -> None:
    """Write an authority's certificate, and one certificate of it with its key, unless the folder is there already.

    The key of the authority is not kept, so nobody can make a second certificate.
    """
    if folder.exists():
        return
    authority, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "vitau")])
    now = datetime.now(UTC)
    common = x509.CertificateBuilder().issuer_name(name).not_valid_before(now - timedelta(days=2)).not_valid_after(now + _VALID)
    root = (
        common.subject_name(name)
        .public_key(authority.public_key())
        .serial_number(x509.random_serial_number())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(authority, hashes.SHA256())
    )
    leaf = (
        common.subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "vitau-own")]))
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(HOST))]), critical=False)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .sign(authority, hashes.SHA256())
    )
    with atomic_path(folder) as partial:
        partial.mkdir(mode=0o700)
        (partial / AUTHORITY).write_bytes(root.public_bytes(Encoding.PEM))
        (partial / CERTIFICATE).write_bytes(leaf.public_bytes(Encoding.PEM))
        key = partial / KEY
        key.touch(mode=0o600)
        key.write_bytes(own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
