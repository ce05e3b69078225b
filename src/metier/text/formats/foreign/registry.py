"""All foreign formats, by name, in the order in which they are tried."""

from collections.abc import Mapping

from metier.text.formats.foreign import (
    anthropic,
    argilla,
    bedrock,
    exchange,
    instances,
    label_studio,
    langfuse,
    opentelemetry,
    squad,
    text_to_sql,
    ticket,
    tree,
    turns,
)
from metier.text.formats.foreign.kind import Foreign

FOREIGN: Mapping[str, Foreign] = {
    entry.name: entry
    for entry in (
        tree.CHATS,
        tree.PAIRS,
        label_studio.FORMAT,
        argilla.FORMAT,
        opentelemetry.FORMAT,
        langfuse.FORMAT,
        exchange.FORMAT,
        bedrock.FORMAT,
        anthropic.FORMAT,
        ticket.FORMAT,
        squad.FORMAT,
        text_to_sql.FORMAT,
        instances.FORMAT,
        turns.FORMAT,
    )
}
