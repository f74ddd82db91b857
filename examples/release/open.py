#!/usr/bin/env python3
"""Opens the envelope of a released key: docs/release-format.md, by PyJWT and cryptography.

    open.py --root root.pem --kek kek.pem [--host HOST] [--nonce NONCE] [--out key.der] ENVELOPE

ENVELOPE is a file with the compact JWS, or with {"value": "..."}; - is standard input. The root is the one that
`strongroom release root` printed where the key was released. What comes out goes to --out: PKCS #8 in DER, or the bare bytes of a
symmetric key. Without --out it is only looked at. Ends with 0 if all is right, else with 1 and the reason.
"""

import argparse
import base64
import binascii
import datetime
import hashlib
import json
import os
import sys
from urllib.parse import urlsplit

import jwt
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap_with_padding

SIZE_MAX = 1024 * 1024
CHAIN_MAX = 6
AES_BYTES = 32
# Never the algorithm that the envelope likes, but one of these.
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]
OAEP_HASHES = {
    "CKM_RSA_AES_KEY_WRAP": hashes.SHA1,
    "RSA_AES_KEY_WRAP_256": hashes.SHA256,
    "RSA_AES_KEY_WRAP_384": hashes.SHA384,
}
CURVES = {"P-256": ec.SECP256R1, "P-384": ec.SECP384R1, "P-521": ec.SECP521R1, "P-256K": ec.SECP256K1}
# Critical ones that are looked at here.
EXTENSIONS = [
    x509.BasicConstraints.oid,
    x509.KeyUsage.oid,
    x509.ExtendedKeyUsage.oid,
    x509.SubjectAlternativeName.oid,
]


class Refused(Exception):
    """Why an envelope is not taken."""


def decoded(text):
    """The bytes of base64url without padding, and nothing but that."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError, TypeError) as error:
        raise Refused(f"not base64url: {error}") from error


def member(value, *names):
    """A member of a member."""
    for name in names:
        if not isinstance(value, dict) or name not in value:
            raise Refused(f"{'.'.join(names)} is missing")
        value = value[name]
    return value


def unambiguous(members):
    """An object whose members are there once each: what is there twice, somebody else may read otherwise."""
    value = dict(members)
    if len(value) != len(members):
        raise Refused("an object has a member twice")
    return value


def parsed(data, what):
    """JSON, an object."""
    try:
        value = json.loads(data, object_pairs_hook=unambiguous)
    except (ValueError, RecursionError) as error:
        raise Refused(f"{what} is no JSON") from error
    if not isinstance(value, dict):
        raise Refused(f"{what} is no object")
    return value


def read(path):
    """The compact JWS of a file."""
    stream = sys.stdin.buffer if path == "-" else open(path, "rb")
    with stream:
        data = stream.read(SIZE_MAX + 1)
    if len(data) > SIZE_MAX:
        raise Refused("the envelope has more than 1 MiB")
    try:
        text = data.decode("ascii").strip()
    except UnicodeDecodeError as error:
        raise Refused("the envelope is not of three parts") from error
    if text.startswith("{"):
        text = member(parsed(text, "the envelope"), "value")
    if not isinstance(text, str) or text.count(".") != 2:
        raise Refused("the envelope is not of three parts")
    return text


def holds(certificate, now):
    """Whether a certificate is in its time."""
    return certificate.not_valid_before <= now <= certificate.not_valid_after


def usage(certificate):
    """What a certificate's key may do; None for anything."""
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return None


def may_issue(certificate, below):
    """Whether a certificate may sign one that has so many authorities below itself."""
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        return False
    may = usage(certificate)
    return constraints.ca and (may is None or may.key_cert_sign) and (constraints.path_length is None or below <= constraints.path_length)


def may_sign(certificate):
    """Whether a certificate is for signatures, and not for certifying others."""
    try:
        if certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return False
    except x509.ExtensionNotFound:
        pass
    may = usage(certificate)
    return may is None or may.digital_signature


def signed_by(certificate, issuer):
    """Whether another certificate's RSA key has signed this one."""
    key = issuer.public_key()
    if certificate.issuer != issuer.subject or not isinstance(key, rsa.RSAPublicKey):
        return False
    if not isinstance(certificate.signature_hash_algorithm, (hashes.SHA256, hashes.SHA384, hashes.SHA512)):
        return False
    try:
        key.verify(
            certificate.signature,
            certificate.tbs_certificate_bytes,
            padding.PKCS1v15(),
            certificate.signature_hash_algorithm,
        )
    except InvalidSignature:
        return False
    return True


def signer(header, root):
    """The certificate that signs, once its chain leads to the pinned root."""
    written = member(header, "x5c")
    if not isinstance(written, list) or not 1 <= len(written) <= CHAIN_MAX:
        raise Refused("x5c has no certificate, or too many")
    try:
        chain = [x509.load_der_x509_certificate(base64.b64decode(one, validate=True)) for one in written]
        known = all(extension.oid in EXTENSIONS for link in [*chain, root] for extension in link.extensions if extension.critical)
    except (ValueError, TypeError, x509.DuplicateExtension) as error:
        raise Refused("x5c has something that is no certificate") from error
    if not known:
        raise Refused("a certificate has a critical extension that is not known here")
    leaf = chain[0]
    if not may_sign(leaf):
        raise Refused("the signer's certificate is that of an authority, or not for signatures")
    if "x5t#S256" in header:
        thumbprint = hashlib.sha256(leaf.public_bytes(serialization.Encoding.DER)).digest()
        if decoded(header["x5t#S256"]) != thumbprint:
            raise Refused("x5t#S256 is not of the first certificate")
    now = datetime.datetime.utcnow()
    for below, current in enumerate(chain):
        if not holds(current, now):
            raise Refused("a certificate does not hold now")
        # The pinned one alone is believed. That the envelope brings a copy of it proves nothing.
        if signed_by(current, root) and may_issue(root, below):
            if not holds(root, now):
                raise Refused("the root does not hold now")
            return leaf
        following = chain[below + 1] if below + 1 < len(chain) else None
        if following is None or not signed_by(current, following) or not may_issue(following, below):
            break
    raise Refused("the certificates do not lead to the pinned root")


def names_host(leaf, host):
    """Whether a certificate is for a host; a star stands for one label, and two at least follow it. The subject is no name of a host."""
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    rest = host.partition(".")[2]
    wanted = {host.lower()}
    if "." in rest:
        wanted.add(f"*.{rest}".lower())
    return any(name.lower() in wanted for name in names.get_values_for_type(x509.DNSName))


def verified(envelope, root, host, nonce):
    """The payload, once everything that needs no key is right."""
    header = parsed(decoded(envelope.split(".")[0]), "the header")
    if header.get("alg") not in ALGORITHMS:
        raise Refused("the algorithm is not one of " + ", ".join(ALGORITHMS))
    if "crit" in header:
        raise Refused("the header has critical members, which are not known here")
    leaf = signer(header, root)
    key = leaf.public_key()
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < 2048:
        raise Refused("the signer's key is no RSA key of 2048 bits or more")
    try:
        jwt.decode(envelope, key=key, algorithms=ALGORITHMS, options={"verify_aud": False})
    except jwt.PyJWTError as error:
        raise Refused(f"the signature is not right: {error}") from error
    # Not what PyJWT has read: it would take the last of two members.
    payload = parsed(decoded(envelope.split(".")[1]), "the payload")
    kid = member(payload, "request", "kid")
    if not names_host(leaf, host or urlsplit(str(kid)).hostname or ""):
        raise Refused("the signer's certificate is for another host")
    if nonce is not None and payload["request"].get("nonce") != nonce:
        raise Refused("the nonce is another")
    return payload


def unwrapped(key, kek):
    """What was encrypted: the bytes, by the place's private key."""
    hsm = parsed(decoded(member(key, "key_hsm")), "key_hsm")
    hash_class = OAEP_HASHES.get(member(hsm, "header", "enc"))
    if hash_class is None:
        raise Refused("this encryption is not known")
    ciphertext = decoded(member(hsm, "ciphertext"))
    first = (kek.key_size + 7) // 8
    oaep = padding.OAEP(mgf=padding.MGF1(hash_class()), algorithm=hash_class(), label=None)
    try:
        temporary = kek.decrypt(ciphertext[:first], oaep)
        if len(temporary) != AES_BYTES:
            raise ValueError("the temporary key is not of 32 bytes")
        return aes_key_unwrap_with_padding(temporary, ciphertext[first:])
    except (ValueError, InvalidUnwrap) as error:
        raise Refused("the private key does not decrypt it") from error


def number(key, name):
    """A number in base64url."""
    return int.from_bytes(decoded(member(key, name)), "big")


def described(key, secret):
    """What the key is, once its public half is the one that was signed for."""
    kind = str(member(key, "kty"))
    kind = kind[: -len("-HSM")] if kind.endswith("-HSM") else kind
    if kind == "oct":
        return f"oct of {len(secret) * 8} bits"
    try:
        private = serialization.load_der_private_key(secret, password=None)
    except ValueError as error:
        raise Refused("what was encrypted is no private key") from error
    public = private.public_key()
    if kind == "RSA" and isinstance(public, rsa.RSAPublicKey):
        right = public.public_numbers() == rsa.RSAPublicNumbers(number(key, "e"), number(key, "n"))
        shown = f"RSA of {public.key_size} bits"
    elif kind == "EC" and isinstance(public, ec.EllipticCurvePublicKey):
        numbers = public.public_numbers()
        right = isinstance(public.curve, CURVES.get(key.get("crv"), ())) and (numbers.x, numbers.y) == (
            number(key, "x"),
            number(key, "y"),
        )
        shown = f"EC on {key.get('crv')}"
    elif kind == "OKP":
        encoding, form = serialization.Encoding.Raw, serialization.PublicFormat.Raw
        right = public.public_bytes(encoding, form) == decoded(member(key, "x"))
        shown = f"OKP on {key.get('crv')}"
    else:
        raise Refused("what was encrypted is a key of another kind")
    if not right:
        raise Refused("what was encrypted is another key than was signed for")
    return shown


def main():
    """The command."""
    parser = argparse.ArgumentParser(description="Opens the envelope of a released key.")
    parser.add_argument("envelope")
    parser.add_argument("--root", required=True)
    parser.add_argument("--kek", required=True)
    parser.add_argument("--host")
    parser.add_argument("--nonce")
    parser.add_argument("--out")
    arguments = parser.parse_args()
    with open(arguments.root, "rb") as file:
        root = x509.load_pem_x509_certificate(file.read())
    with open(arguments.kek, "rb") as file:
        kek = serialization.load_pem_private_key(file.read(), password=None)
    payload = verified(read(arguments.envelope), root, arguments.host, arguments.nonce)
    key = member(payload, "response", "key", "key")
    secret = unwrapped(key, kek)
    shown = described(key, secret)
    if arguments.out:
        # For its owner alone, from the first byte.
        with os.fdopen(os.open(arguments.out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secret)
    print(f"{key.get('kid')}: {shown}")


if __name__ == "__main__":
    try:
        main()
    except (Refused, OSError) as error:
        sys.exit(f"open.py: {error}")
