"""One card of the page."""


def section(anchor: str, title: str, note: str, body: str) -> str:
    """One card of the page. note: what is seen and how it was counted, in plain HTML."""
    return f'<section id="{anchor}"><h2>{title}</h2><p class="note">{note}</p>{body}</section>'


def table(head: str, rows: str) -> str:
    """A table of `rows` under the cells of `head`; where the page is too narrow it scrolls on its own."""
    return f"<div class=scroll tabindex=0><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
