"""Tokens of OIDC issuers: their keys, and what they are exchanged for."""
