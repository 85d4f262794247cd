"""The look of the report: light and dark by the reader's own setting, one column on a phone, and a page that prints.

Colours are those of Okabe and Ito (2008), told apart by colour-blind readers, darkened or lightened until text on the
page has a contrast of 4.5 or more.
"""

STYLE = """
:root { color-scheme: light dark; --page: #fff; --ink: #1d2126; --soft: #555d66; --line: #d5dae0; --box: #f4f6f8;
  --blue: #005f9e; --scale: #0072b2; --green: #00664b; --amber: #8a5a00; --red: #b03a00; --green-box: #e4f3ee;
  --amber-box: #fbf1dc; --red-box: #fbe9e1; }
@media (prefers-color-scheme: dark) { :root { --page: #14171a; --ink: #e6e9ec; --soft: #a9b1ba; --line: #3a4149;
  --box: #1e2328; --blue: #6cbcec; --scale: #4aa3df; --green: #5fd0ab; --amber: #e8b44f; --red: #f0906a;
  --green-box: #12302a; --amber-box: #33290f; --red-box: #3a2018; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, "Segoe UI", Roboto,
  "Helvetica Neue", "DejaVu Sans", Arial, sans-serif; overflow-wrap: anywhere; print-color-adjust: exact;
  -webkit-print-color-adjust: exact; }
header, main, nav, footer { max-width: 66rem; margin: 0 auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 1.2rem 0 .2rem; }
h2 { font-size: 1.3rem; line-height: 1.3; margin: 2.4rem 0 .6rem; padding-top: .8rem;
  border-top: 2px solid var(--line); }
h3 { font-size: 1.08rem; margin: 1.6rem 0 .4rem; }
p, ul, ol { margin: .5rem 0; max-width: 46rem; } ol.steps { max-width: none; }
ul, ol { padding-left: 1.4rem; }
a { color: var(--blue); }
nav ol { columns: 17rem; column-gap: 2rem; font-size: .95rem; }
nav li { padding: .2rem 0; }
.soft, figcaption, .subtitle, footer { color: var(--soft); }
footer { padding-bottom: 2rem; font-size: .9rem; }
.verdict { border: 1px solid var(--line); border-left: 8px solid var(--light); background: var(--light-box);
  border-radius: 6px; padding: .8rem 1rem; margin: 1rem 0; }
.verdict p { margin: .35rem 0; } .verdict .word { font-size: 1.35rem; font-weight: 700; line-height: 1.3; }
.use { --light: var(--green); --light-box: var(--green-box); }
.cannot { --light: var(--amber); --light-box: var(--amber-box); }
.do-not { --light: var(--red); --light-box: var(--red-box); }
.word { color: var(--light); font-weight: 700; } .word svg { width: 1.05em; height: 1.05em; vertical-align: -.14em;
  margin-right: .35em; fill: var(--light); }
summary { cursor: pointer; padding: .4rem 0; font-weight: 600; }
.missing { border: 1px dashed var(--soft); border-radius: 6px; padding: .4rem .9rem; margin: .8rem 0; }
pre { background: var(--box); border: 1px solid var(--line); border-radius: 4px; padding: .5rem .7rem; margin: .4rem 0;
  white-space: pre-wrap; overflow-wrap: anywhere; font: .86rem/1.45 ui-monospace, Consolas, "DejaVu Sans Mono",
  monospace; }
pre span { display: block; padding-left: 1.6em; text-indent: -1.6em; }
.scroll { overflow-x: auto; margin: .8rem 0; max-width: 100%; }
table { border-collapse: collapse; font-size: .93rem; font-variant-numeric: tabular-nums; overflow-wrap: break-word; }
.caption { font-weight: 600; margin: 1rem 0 .2rem; } .caption + .scroll { margin-top: 0; }
th, td { padding: .32rem .55rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th { font-weight: 600; } tbody th { font-weight: 500; min-width: 9rem; max-width: 22rem; overflow-wrap: anywhere; }
.light { min-width: 11rem; } .stacked tbody th { min-width: 6rem; }
thead .name { overflow-wrap: anywhere; min-width: 5rem; max-width: 9rem; }
.number { text-align: right; } td.number { white-space: nowrap; } .why { color: var(--soft); display: block; }
td.share { background: color-mix(in srgb, var(--scale) calc(var(--share) * 50%), transparent); min-width: 4.5rem;
  text-align: center; }
td.right { box-shadow: inset 0 0 0 2px var(--scale); }
figure { margin: 1rem 0; } figcaption { font-size: .9rem; max-width: 46rem; margin-top: .25rem; }
img { max-width: 100%; height: auto; display: block; background: var(--box); }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(7.5rem, 1fr)); gap: .7rem; margin: .6rem 0;
  padding: 0; list-style: none; max-width: none; }
.pictures figure { margin: 0; } .pictures img { width: 100%; } .pictures figcaption { font-size: .8rem; }
.triples { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr)); gap: 1rem; }
.pictures img + img { margin-top: 3px; }
.triple { margin: 0; } .triple img { width: 100%; }
.triple div { display: grid; grid-template-columns: repeat(3, 1fr); gap: 4px; }
.chart { display: block; width: 100%; max-width: 34rem; height: auto; overflow: hidden; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(18.5rem, 100%), 1fr)); gap: 1rem 1.6rem; }
.finding { font-weight: 600; font-size: .95rem; margin: 0 0 .3rem; }
.charts figure { margin: 0; }
.chart text { font-size: 11.5px; fill: var(--ink); } .chart .unit { fill: var(--soft); font-size: 11px; }
.chart .value { font-weight: 600; }
.chart .label { paint-order: stroke; stroke: var(--page); stroke-width: 4px; }
.grid { stroke: var(--line); stroke-width: 1; }
.whisker { stroke: var(--blue); stroke-width: 2; } .mark { fill: var(--blue); } .bar { fill: var(--scale); }
.limit { stroke: var(--red); stroke-width: 2; stroke-dasharray: 5 3; }
.dash-1 { stroke-dasharray: 7 4; } .dash-2 { stroke-dasharray: 2 4; }
.bold { fill: none; stroke: var(--blue); stroke-width: 2.5; }
.cell { fill: var(--scale); } .chosen { fill: none; stroke: var(--red); stroke-width: 3; }
@media (max-width: 40rem) {
  .stacked thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  .stacked, .stacked tbody, .stacked tr, .stacked th, .stacked td { display: block; }
  .stacked tr { border: 1px solid var(--line); border-radius: 6px; padding: .4rem .7rem; margin: .6rem 0; }
  .stacked tbody th { font-weight: 700; padding: .2rem 0; border: 0; max-width: none; }
  .stacked td { display: flex; justify-content: space-between; gap: 1rem; border: 0; padding: .12rem 0;
    text-align: right; white-space: normal; }
  .stacked td::before { content: attr(data-label); color: var(--soft); text-align: left; flex: none; max-width: 60%; } }
@media print { :root { color-scheme: light; --page: #fff; --ink: #000; --soft: #444; --line: #bbb; --box: #f4f6f8;
  --blue: #005f9e; --scale: #0072b2; --green: #00664b; --amber: #8a5a00; --red: #b03a00; --green-box: #e4f3ee;
  --amber-box: #fbf1dc; --red-box: #fbe9e1; }
  nav { display: none; } body { font-size: 10pt; } main { max-width: none; }
  .scroll { overflow: visible; } table { font-size: 7.5pt; } .light { min-width: 8rem; }
  th, td { padding: .15rem .3rem; } tbody th { min-width: 5rem; }
  details::details-content { content-visibility: visible; height: auto; }
  figure, .light, tr, .missing, pre { break-inside: avoid; } h2, h3, .caption { break-after: avoid; } }
"""
