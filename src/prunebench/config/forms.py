"""The patterns that texts of a configuration have to match."""

from __future__ import annotations

FORMS = {
    (NAME := r"^[a-z0-9][a-z0-9-]*$"): "lower case letters, digits and dashes",
    (CARD := r"^cuda:\d{1,4}$"): "a card such as cuda:0",
    (
        SSH_ADDRESS
        := r"^ssh://([A-Za-z0-9_][A-Za-z0-9_.-]*@)?[A-Za-z0-9][A-Za-z0-9_.-]*(:\d{1,5})?$"
    ): ("an address such as ssh://user@host or ssh://user@host:22"),
    (SCHEDULER := r"^(tcp|tls|ws|wss)://[^/\s]+$"): "the address of a scheduler, tcp://host:8786",
}
"""What a text that has to match a pattern is, in words."""
