"""Transport security: certificates, who has which name, and what failed handshakes mean.

`tessera.rpc.channel` and `tessera.rpc.server` are where it comes in.
"""
