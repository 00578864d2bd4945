# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Certificates of a private authority, made for a test; CountingProxy puts them before a server that speaks no TLS."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

NOW = datetime.datetime.now(datetime.timezone.utc)
DAY = datetime.timedelta(days=1)
LOOPBACK: Sequence[x509.GeneralName] = (x509.IPAddress(ipaddress.ip_address("127.0.0.1")),)


class Authority:
    """Signs certificates, in a directory. `path` is its own one, for those who trust it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tests")])
        self.certificate = self._sign(self.name, self.key, [x509.DNSName("tests")], NOW - DAY, NOW + DAY, authority=True)
        self.path = directory / "ca.pem"
        self.path.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def certify(
        self,
        label: str,
        names: Sequence[x509.GeneralName] = LOOPBACK,
        begin: datetime.datetime = NOW - DAY,
        end: datetime.datetime = NOW + DAY,
        own: bool = False,
    ) -> Path:
        """A file with a certificate and its key. `own`: the certificate is signed by itself."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, label)])
        certificate = self._sign(subject, key, names, begin, end, own=own)
        path = self.directory / (label + ".pem")
        private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + private)
        return path

    def server(self, label: str = "server", demand_a_certificate: bool = False, **wanted: Any) -> ssl.SSLContext:
        """A server's TLS, with a certificate as `certify` makes it; it may demand one of this authority from its clients."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certify(label, **wanted))
        if demand_a_certificate:
            context.load_verify_locations(self.path)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _sign(self, subject: x509.Name, key: Any, names: Any, begin: Any, end: Any, authority: bool = False, own: bool = False) -> x509.Certificate:
        signer: Any = key if own or authority else self.key
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject if own else self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(end)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        return builder.sign(signer, hashes.SHA256())
