"""Who may be let in from outside: one public address, or a network of few."""

from __future__ import annotations

import ipaddress

from orbresearch.errors import BadInput

_FIX = 'give your own address, which https://checkip.amazonaws.com tells: allow="203.0.113.7/32"'
# Addresses that no packet from the internet comes from: this machine's, those behind a router at home or at work
_INSIDE = ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16")
_NOBODYS = ("0.0.0.0/8", "224.0.0.0/3")


def narrow_range(allow: str) -> str:
    """Return an address range as AWS writes it, if it lets in few enough.

    Parameters
    ----------
    allow : str
        A public IPv4 address, or a range of /24 to /32.

    Raises
    ------
    BadInput

    Examples
    --------
    >>> narrow_range("203.0.113.7")
    '203.0.113.7/32'
    """
    network = _read(allow)
    if network.prefixlen < 24:
        wrong = f"{allow} lets {network.num_addresses:,} addresses in; at most 256 (a /24) may be let in"
        raise BadInput("allow", wrong, _FIX)
    if str(network.network_address) != allow.partition("/")[0]:
        wrong = f"{allow} is one address with the size of a network: it would let {network.num_addresses} in"
        raise BadInput("allow", wrong, f"{_FIX}, or {network} for all of them")
    if _is_within(network, _NOBODYS):
        raise BadInput("allow", f"{allow} is nobody's address", _FIX)
    if _is_within(network, _INSIDE):
        raise BadInput("allow", f"{allow} is an address inside your own network, which AWS never sees", _FIX)
    return str(network)


def _read(allow: str) -> ipaddress.IPv4Network:
    """Return the network; its size first, whatever else is wrong with it."""
    try:
        return ipaddress.IPv4Network(str(allow), strict=False)
    except ValueError:
        sixth = "AWS is asked for IPv4 here: " if ":" in str(allow) else ""
        raise BadInput("allow", f"{allow!r} is no IPv4 address or range of them", f"{sixth}{_FIX}") from None


def _is_within(network: ipaddress.IPv4Network, ranges: tuple[str, ...]) -> bool:
    return any(network.subnet_of(ipaddress.IPv4Network(each)) for each in ranges)
