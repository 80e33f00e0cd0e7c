"""Text that has made trouble somewhere, each with what it is."""

from __future__ import annotations

__all__ = ["HOSTILE"]

HOSTILE: dict[str, str] = {
    # what turns the direction of writing
    "right-to-left override": "gnp.\u202eexe",
    "left-to-right override": "a\u202d\u05d0\u05d1",
    "embedding": "a\u202bb",
    "pop without a push": "a\u202cb",
    "isolate that stays open": "a\u2067b",
    "isolate that closes another": "\u2069\u05d0",
    "marks of direction": "a\u200eb\u200fc\u061cd",
    "Hebrew": "\u05e9\u05dc\u05d5\u05dd 1 2",
    "Arabic": "\u0645\u0631\u062d\u0628\u0627",
    # terminals
    "colour": "\x1b[31mred\x1b[0m",
    "cursor": "\x1b[2J\x1b[Hgone",
    "title": "\x1b]0;mine\x07",
    "hyperlink": "\x1b]8;;https://example.org\x1b\\here\x1b]8;;\x1b\\",
    "half an escape": "\x1b[",
    "C1 escape": "\x9b31mred",
    "bell and backspace": "a\x07b\x08c",
    "NUL": "a\x00b",
    "delete": "a\x7fb",
    "form feed": "a\x0cb",
    "vertical tab": "a\x0bb",
    # lines
    "newline": "a\nb",
    "carriage return": "shown\rhidden",
    "both": "a\r\nb",
    "next line": "a\x85b",
    "line separator": "a\u2028b",
    "paragraph separator": "a\u2029b",
    "many lines": "row\n" * 5_000,
    "tabs": "a\t\tb",
    "only blanks": " \n\t ",
    # pages
    "script": "<script>window.bitten=1</script>",
    "image": '<img src=//bite.invalid/x onerror="window.bitten=1">',
    "end of a block": "</pre></td></table><h1>mine",
    "entity": "&lt;b&gt; &#x1b; &amp;",
    "attribute": "\" onmouseover='window.bitten=1' \"",
    "mathematics": "price is $5 and then $6",
    "displayed mathematics": "$$\\require{html}\\style{color:red}{x}$$ \\(y\\) \\[z\\]",
    "LaTeX environment": "\\begin{align}x\\end{align}",
    "drawing": "<svg onload=window.bitten=1><a href=//bite.invalid/svg>x</a></svg>",
    "frame": '<iframe srcdoc="<script>parent.bitten=1</script>" src=//bite.invalid/frame>',
    "style sheet": "<style>@import url(//bite.invalid/css); .cv-panel{display:none}</style>",
    "end of a script": "</script><script>window.bitten=1</script>",
    "form that sends itself": "<form action=//bite.invalid><input autofocus onfocus=submit()>",
    "preloaded": "<link rel=preload as=image href=//bite.invalid/preload>",
    "address that runs": "javascript:window.bitten=1",
    "a value of CSS": "red;background:url(//bite.invalid/value)",
    "Markdown": "# title\n[link](javascript:alert(1)) `code`",
    # encodings
    "lone high surrogate": "no \ud800",
    "lone low surrogate": "\udfff no",
    "surrogates the wrong way round": "\ude00\ud83d",
    "emoji": "\U0001f469\u200d\U0001f4bb \U0001f1eb\U0001f1f7",
    "noncharacter": "a\ufffeb\uffffc",
    "byte order mark": "\ufeffa",
    # what is not seen, or seen too much
    "zero width": "pay\u200bpal\u2060",
    "soft hyphen": "co\xadop",
    "tags": "hi\U000e0041\U000e0042",
    "no-break space": "a\xa0b",
    "pile of accents": "H" + "\u0301\u0302\u0303\u0304" * 50,
    "pile of Thai marks": "\u0e01" + "\u0e49" * 60,
    "a megabyte": "x" * 1_000_000,
    "a megabyte of two-byte letters": "\xe9" * 1_000_000,
    "a megabyte in one name": "\u05d0" * 1_000_000,
    # other people's templates
    "format": "%s %d {0} {name} {name!r}",
    "rich markup": "[red]x[/] [/nothing] [link=file:///etc]y[/link]",
    "shell": "$(reboot) `reboot`; %conveyor reset",
}
