"""What scrolls sideways fades at its edge as long as there is more to see."""

_FADE = (
    "@keyframes more-to-see{from,96%{mask-image:linear-gradient(to left,#0003,#000 48px)}"
    "to{mask-image:none}}"
)


def fading(selector: str) -> str:
    """CSS for a box that scrolls sideways. Where all of it is seen, or the browser knows no
    timelines of scrolling, it looks as ever.
    """
    return (
        f"{_FADE}@supports(animation-timeline:scroll(self x)){{{selector}"
        "{animation:more-to-see linear both;animation-timeline:scroll(self x)}}"
    )
