"""What a failed handshake means: one line, with a reason and a remedy. Pure."""

from __future__ import annotations

from tessera import errors

WRONG_NAME = "TLS_WRONG_NAME"
UNKNOWN_AUTHORITY = "TLS_UNKNOWN_AUTHORITY"
EXPIRED = "TLS_EXPIRED"
EXPECTED = "TLS_EXPECTED"
NOT_OFFERED = "TLS_NOT_OFFERED"

LINES = {
    WRONG_NAME: (
        "{who} shows a certificate that is not for the name or address it was called at; call it "
        "by a name that its certificate bears"
    ),
    UNKNOWN_AUTHORITY: (
        "{who} shows a certificate of an authority that is not believed here; name its ca.crt "
        "with --ca or TESSERA_CA"
    ),
    EXPIRED: (
        "{who} shows a certificate that is not valid at this time; renew it, and compare the clocks"
    ),
    EXPECTED: "{who} speaks TLS only; name its ca.crt with --ca or TESSERA_CA",
    NOT_OFFERED: (
        "{who} does not speak TLS; start it with `tessera up --tls`, or leave out --ca and "
        "TESSERA_CA"
    ),
}

_SIGNS = {
    "hostname verification": WRONG_NAME,
    "hostname mismatch": WRONG_NAME,
    "ip address mismatch": WRONG_NAME,
    "unsupported certificate purpose": WRONG_NAME,
    "unsuitable certificate purpose": WRONG_NAME,
    "unable to get local issuer": UNKNOWN_AUTHORITY,
    "unable to get issuer": UNKNOWN_AUTHORITY,
    "self signed": UNKNOWN_AUTHORITY,
    "self-signed": UNKNOWN_AUTHORITY,
    "unable to verify the first": UNKNOWN_AUTHORITY,
    "certificate signature failure": UNKNOWN_AUTHORITY,
    "invalid ca certificate": UNKNOWN_AUTHORITY,
    "has expired": EXPIRED,
    "not yet valid": EXPIRED,
    "wrong_version_number": NOT_OFFERED,
    "wrong version number": NOT_OFFERED,
    "record layer failure": NOT_OFFERED,
    "certificate_verify_failed": UNKNOWN_AUTHORITY,
}
"""Words of BoringSSL's and OpenSSL's, in this order."""


def tls_error(reason: str, who: str) -> errors.UnavailableError:
    """The error for one of the reasons.

    Args:
        reason: of `LINES`.
        who: what was called, for example `127.0.0.1:7400`.
    """
    return errors.UnavailableError(LINES[reason].format(who=who), reason=reason)


def reason_of(text: str) -> str:
    """The reason that gRPC, or Python, means with its words; empty: another failure."""
    lower = text.lower()
    return next((reason for sign, reason in _SIGNS.items() if sign in lower), "")


def is_tls(error: errors.TesseraError) -> bool:
    """Whether it is of a handshake: at the same address, trying again does not help."""
    return error.reason in LINES
