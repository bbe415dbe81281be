"""How a report looks: on a desktop, a telephone and paper, on light ground and on dark."""

CSS = """
:root { color-scheme: light dark; --ground: #fff; --text: #1d222b; --muted: #57606d }
:root { --line: #dfe3e8; --band: #f5f6f8; --link: #1d4fc4; --good: #eef3fd; --bad: #b00020 }
:root { --shade: #1d222b40 }
* { box-sizing: border-box }
html { scroll-padding-top: 1rem; -webkit-text-size-adjust: 100% }
body { font: 16px/1.6 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif }
body { color: var(--text); background: var(--ground); margin: 0; overflow-wrap: anywhere }
.sheet { max-width: 63rem; margin: 0 auto; padding: 1.75rem 1.25rem 5rem }
h1 { font-size: 1.85rem; line-height: 1.2; letter-spacing: -.015em; margin: 0 0 .2rem }
h2 { font-size: 1.4rem; line-height: 1.25; letter-spacing: -.01em; margin: 0 0 .4rem }
section { margin-top: 2.75rem; border-top: 1px solid var(--line); padding-top: 1.5rem }
section.first { margin-top: 1rem; border: 0; padding-top: 0 }
main > section:first-child { margin-top: 1rem }
p { margin: .5rem 0 } a { color: var(--link); text-underline-offset: 2px }
.finding { font-size: 1.08rem; line-height: 1.55; max-width: 50rem }
.note { font-size: .85rem; line-height: 1.5; color: var(--muted); max-width: 52rem }
nav { font-size: .9rem; line-height: 1.45 } nav ol { list-style: none; margin: 0; padding: 0 }
nav a { color: var(--text); text-decoration: none; display: block; padding: .2rem 0 }
nav a:hover, nav a:focus { color: var(--link); text-decoration: underline }
nav strong { font-size: .75rem; letter-spacing: .06em; text-transform: uppercase }
nav strong { color: var(--muted) }
.pair { display: grid; gap: 1rem 2rem; grid-template-columns: 1fr 1fr; max-width: 58rem }
figure { margin: 1rem 0 1.5rem; min-width: 0 } figure > div { overflow-x: auto }
figcaption { font-weight: 600; font-size: .95rem; margin-bottom: .35rem }
.links { font-size: .8rem; font-weight: 400; color: var(--muted); text-align: right }
img { display: block; max-width: 100%; height: auto }
.photo { background: #fff; color: #1d222b; border-radius: 4px }
.scroll { overflow-x: auto; background: no-repeat
  local linear-gradient(to right, var(--ground) 35%, transparent) 0 0 / 2.5rem 100%,
  no-repeat local linear-gradient(to left, var(--ground) 35%, transparent) 100% 0 / 2.5rem 100%,
  no-repeat linear-gradient(to right, var(--shade), transparent) 0 0 / .9rem 100%,
  no-repeat linear-gradient(to left, var(--shade), transparent) 100% 0 / .9rem 100% }
table { border-collapse: collapse; font-size: .9rem }
table { font-variant-numeric: tabular-nums; line-height: 1.4; margin: .75rem 0 .25rem }
caption { text-align: left; font-weight: 600; padding-bottom: .3rem }
.about { display: block; font-weight: 400; color: var(--muted); font-size: .85rem }
sub { font-size: .75em; line-height: 0 } .name { display: inline-block }
th, td { padding: .34rem .8rem .34rem 0; text-align: left; vertical-align: top; font-weight: 400 }
thead th { color: var(--muted); font-size: .8rem; border-bottom: 1px solid var(--muted) }
thead th { vertical-align: bottom } tbody tr { border-bottom: 1px solid var(--line) }
.number { text-align: right; white-space: nowrap } .number.best { font-weight: 700 }
tbody th { white-space: nowrap } tr.lead { background: var(--good) }
.interval { color: var(--muted); font-size: .82em; font-weight: 400; margin-left: .2em }
.who { display: flex; align-items: baseline; gap: .45em }
.key { flex: none; width: .7em; height: .7em; border-radius: 50% }
.rank { flex: none; color: var(--muted); min-width: 1.1em } .folded, .few { display: none }
.ranked { font-size: .88rem } .ranked th, .ranked td { padding-right: .6rem }
th:first-child, td:first-child { padding-left: .5rem }
pre { font: 13px/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; overflow-x: auto }
pre { background: var(--band); padding: .8rem 1rem; border-radius: 6px; overflow-wrap: normal }
details { margin: .6rem 0 } summary { cursor: pointer; font-size: .9rem; color: var(--muted) }
summary:hover { color: var(--link) } details ul { padding-left: 1.1rem }
.failed { border-left: 4px solid var(--bad); padding-left: .8rem }
:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; border-radius: 2px }
@media (min-width: 1180px) {
  .sheet { max-width: 80rem; display: grid; grid-template-columns: 13rem minmax(0, 1fr) }
  .sheet { column-gap: 3rem; align-items: start } header, main { grid-column: 2 }
  nav { position: sticky; top: 1.75rem; grid-area: 1 / 1 / span 2 }
  nav a { padding: .3rem 0 } nav strong { display: block; margin-bottom: .35rem }
}
@media (max-width: 1179px) { nav { border-top: 1px solid var(--line); padding-top: 1rem } }
@media (max-width: 1179px) { nav { margin-top: 1.5rem } }
@media screen and (max-width: 900px) { .wide { display: none } .folded { display: block } }
@media screen and (max-width: 640px) { .far { display: none } .few { display: block } }
@media (max-width: 640px) {
  .sheet { padding: 1.1rem .9rem 3rem } h1 { font-size: 1.5rem } h2 { font-size: 1.22rem }
  .finding { font-size: 1rem } .pair { grid-template-columns: 1fr; gap: 0 }
  table { font-size: .82rem; overflow-wrap: normal } th, td { padding-right: .7rem }
  .ranked { width: 100% } .ranked th, .ranked td { padding-right: .25rem }
  .ranked th:first-child { padding: .34rem .2rem } .ranked .interval { font-size: .7em }
  .ranked .who { gap: .35em } .ranked .rank { min-width: .7em }
  tbody th, thead .number { white-space: normal } thead th { font-size: .72rem }
  tbody th.short { white-space: nowrap }
  .interval { display: block; margin: 0; font-size: .76em }
  .about { max-width: calc(100vw - 2rem) } .fit img { max-width: none; width: max(100%, 44rem) }
}
@media (prefers-color-scheme: dark) {
  :root { --ground: #13161c; --text: #e7eaf0; --muted: #a4adba; --line: #2c323c; --band: #1b2028 }
  :root { --link: #8fb5ff; --good: #1b2434; --bad: #ff8a98; --shade: #e7eaf04d }
  .plot, .key { filter: invert(.93) hue-rotate(180deg) }
  .chart { filter: invert(1) hue-rotate(180deg); mix-blend-mode: screen }
}
@media print {
  :root { color-scheme: light; --ground: #fff; --text: #000; --muted: #444; --line: #ccc }
  :root { --band: #f5f6f8; --good: #eef3fd; --link: #000 }
  body { font-size: 10.5pt } .sheet { display: block; max-width: none; padding: 0 }
  nav, .links { display: none } figure, tr, .pair { break-inside: avoid }
  h2, .finding { break-after: avoid } a { text-decoration: none } .scroll { overflow: visible; background: none }
  .plot, .chart, .key { filter: none; mix-blend-mode: normal }
  .ranked .interval { display: block; margin: 0 }
}
"""
