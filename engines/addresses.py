"""Which network addresses the hub may call: public ones, and those that WORKFLOWHUB_HTTP_ALLOW
lists.

The http door asks here before each connection and connects to the very address that it was given,
so that a name which resolves to something else a moment later gains nothing.
"""

from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from socket import SOCK_STREAM, getaddrinfo

SETTING = "WORKFLOWHUB_HTTP_ALLOW"
NAT64 = IPv6Network("64:ff9b::/96")

Address = IPv4Address | IPv6Address


class AddressRefused(Exception):
    """The policy forbids every address of a host; the text names the setting that allows it."""


class UnknownHost(Exception):
    """The name has no address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One entry of the setting: a host name or a network, at one port or (None) at any."""

    entry: str
    host: str = ""
    network: str = ""
    port: int | None = None

    def allows(self, host: str, address: Address, port: int) -> bool:
        if self.port not in (None, port):
            return False
        if self.host:
            return self.host == host.lower().rstrip(".")
        return address in ip_network(self.network)


def parse_rule(entry: str) -> Rule:
    """`host`, `host:port`, `CIDR`, `CIDR:port`; an IPv6 with a port stands in brackets.
    ValueError.
    """
    place, port = _split_port(entry)
    if port is not None and not 1 <= port <= 65535:
        raise ValueError(f"{entry!r}: the port must be from 1 to 65535.")
    try:
        return Rule(entry=entry, network=str(ip_network(place)), port=port)
    except ValueError as error:
        numeric = not place.strip("0123456789./") or ":" in place
        if numeric or not _is_host_name(place):
            raise ValueError(
                f"{entry!r} is no host, host:port, CIDR or CIDR:port ({error})."
            ) from None
    return Rule(entry=entry, host=place.lower().rstrip("."), port=port)


@cache
def rules(entries: tuple[str, ...]) -> tuple[Rule, ...]:
    """The rules of the setting's entries. ValueError for a malformed one: it allows nothing."""
    return tuple(parse_rule(entry) for entry in entries)


def permitted(host: str, port: int, allow: tuple[str, ...]) -> list[str]:
    """The addresses of `host` that may be called, in the resolver's order.

    Resolves once. Raises UnknownHost, AddressRefused, or ValueError for a malformed entry of
    `allow`.
    """
    listed = rules(allow)
    found = _resolve(host, port)
    chosen = [
        str(address)
        for address in found
        if _is_public(address) or any(rule.allows(host, _plain(address), port) for rule in listed)
    ]
    if not chosen:
        places = ", ".join(map(str, found))
        raise AddressRefused(
            f"{host}{'' if places == host else f' is at {places}, which'} is not public. To allow it, "
            f"add {_netloc(host, port)} to {SETTING}."
        )
    return chosen


def _resolve(host: str, port: int) -> list[Address]:
    try:
        answers = getaddrinfo(host, port, type=SOCK_STREAM)
    except (OSError, UnicodeError):
        raise UnknownHost(f"The name {host!r} has no address: is it spelled right?") from None
    found = dict.fromkeys(ip_address(str(answer[4][0]).partition("%")[0]) for answer in answers)
    return list(found)


def _is_public(address: Address) -> bool:
    plain = _plain(address)
    return plain.is_global and not (plain.is_multicast or plain.is_reserved or plain.is_unspecified)


def _plain(address: Address) -> Address:
    """The IPv4 address that an IPv6 address wraps, where it wraps one."""
    if isinstance(address, IPv4Address):
        return address
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _split_port(entry: str) -> tuple[str, int | None]:
    if entry.startswith("["):
        place, _, port = entry[1:].partition("]")
        if not port:
            return place, None
        return place, int(port[1:]) if port.startswith(":") and port[1:].isdecimal() else 0
    place, colon, port = entry.rpartition(":")
    if colon and ":" not in place:
        return place, int(port) if port.isdecimal() else 0
    return entry, None


def _is_host_name(text: str) -> bool:
    return len(text) <= 253 and all(
        part and len(part) <= 63 and part.replace("-", "").replace("_", "").isalnum()
        for part in text.rstrip(".").split(".")
    )


def _netloc(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
