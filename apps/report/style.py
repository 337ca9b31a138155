"""The style sheet of the HTML report: one string, so that the report is one file and the package holds no data."""

LIGHT = {
    "page": "#ffffff",
    "panel": "#f5f7f9",
    "ink": "#17212b",
    "dim": "#566371",
    "rule": "#d9e0e6",
    "accent": "#1c5cd0",
    "lost": "#b93a10",
    "won": "#0b7a53",
    "c0": "#2563eb",
    "c1": "#c2410c",
    "c2": "#0f7f5c",
    "c3": "#8b3fd1",
    "c4": "#b3246b",
    "c5": "#0e7490",
    "c6": "#8a6100",
    "c7": "#74808c",
}
"""Colours by day and on paper: `ink` and `dim` are for text, `c0` to `c7` tell things apart in pictures."""

DARK = {
    "page": "#10161c",
    "panel": "#19212a",
    "ink": "#e7ecf1",
    "dim": "#a0adba",
    "rule": "#303b46",
    "accent": "#7fb0ff",
    "lost": "#ff9b6b",
    "won": "#56cf9b",
    "c0": "#6ea2ff",
    "c1": "#ff9354",
    "c2": "#45c491",
    "c3": "#be93ff",
    "c4": "#f584b5",
    "c5": "#4fc3d9",
    "c6": "#e0b943",
    "c7": "#8794a1",
}


def _variables(colours: dict[str, str]) -> str:
    return "".join(f"--{name}:{value};" for name, value in colours.items())


_COLOUR_CLASSES = "".join(f".c{i}{{--c:var(--c{i})}}" for i in range(8))

_PAGE = """
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;text-size-adjust:100%}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.55 -apple-system,BlinkMacSystemFont,"Segoe UI",
Roboto,"Helvetica Neue",Arial,sans-serif;overflow-wrap:anywhere}
header,main{max-width:1080px;margin:0 auto;padding:0 24px}
header{padding-top:48px}
main{padding-bottom:64px}
a{color:var(--accent)}
:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
.eyebrow{margin:0;color:var(--dim);font-size:14px;font-weight:600;letter-spacing:.02em}
h1{margin:2px 0 14px;font-size:34px;line-height:1.2;letter-spacing:-.015em}
h2{margin:0 0 6px;font-size:23px;line-height:1.25;letter-spacing:-.01em}
h3{margin:36px 0 6px;font-size:17px;line-height:1.35}
p{margin:0 0 12px}
.lead{font-size:20px;line-height:1.5;max-width:46em}
.about{color:var(--dim);font-size:14.5px;max-width:56em}
section{margin-top:56px;padding-top:28px;border-top:1px solid var(--rule)}
nav ul{display:flex;flex-wrap:wrap;gap:4px 20px;margin:26px 0 0;padding:0;list-style:none;font-size:15px}
nav a{display:inline-block;padding:4px 0}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,320px),1fr));gap:20px;margin-top:28px}
.card{padding:20px 22px;border-radius:10px;background:var(--panel)}
.card h2{font-size:14px;font-weight:600;letter-spacing:0;color:var(--dim)}
.card .name{margin:0 0 12px;font-size:19px;font-weight:650;line-height:1.3}
.figures{display:flex;flex-wrap:wrap;gap:10px 20px;margin:0 0 14px}
.figures dt{color:var(--dim);font-size:13px}
.figures dd{margin:0;font-size:20px;font-weight:600;line-height:1.25;font-variant-numeric:tabular-nums}
.figures small{font-size:13px;font-weight:400;color:var(--dim)}
pre{margin:0;padding:10px 12px;border-radius:6px;background:var(--page);border:1px solid var(--rule);
font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace;white-space:pre-wrap}
.word{display:inline-block;max-width:100%}
section>h2+.machine,section>h2+pre{margin-top:16px}
.machine{display:grid;grid-template-columns:fit-content(15em) 1fr;gap:6px 28px;margin:0 0 20px;font-size:15px}
.machine dt{color:var(--dim)}
.machine dd{margin:0}
"""

_TABLES = """
.scroll{overflow-x:auto;margin:16px 0 12px;background:linear-gradient(to right,var(--page) 40%,transparent) 0/40px 100%
no-repeat local,linear-gradient(to left,var(--page) 40%,transparent) 100%/40px 100% no-repeat local,
linear-gradient(to right,var(--rule),transparent) 0/14px 100% no-repeat scroll,
linear-gradient(to left,var(--rule),transparent) 100%/14px 100% no-repeat scroll}
table{border-collapse:separate;border-spacing:0;font-size:14px;line-height:1.4;font-variant-numeric:tabular-nums;overflow-wrap:normal}
table.full{min-width:100%}
th,td{padding:6px 9px;text-align:left;vertical-align:top;white-space:nowrap;border-bottom:1px solid var(--rule)}
thead th{color:var(--dim);font-size:13px;font-weight:600;vertical-align:bottom;border-bottom-color:var(--dim)}
thead small{display:block;font-size:12px;font-weight:400}
th.n,td.n{text-align:right}
tbody th{font-weight:400}
.rows tr>th:first-child{position:sticky;left:0;background:var(--page);border-left:3px solid transparent}
.rows table{font-size:12px}.rows thead th{font-size:11.5px}.rows th,.rows td{padding:6px 4px}
.number{display:inline-block;min-width:1.3em;margin-right:5px;font-weight:400;color:var(--dim);text-align:right}
.rows tr.front>th:first-child{font-weight:650;border-left-color:var(--accent)}
tr.dominated th,tr.dominated td{color:var(--dim)}
td.reason{white-space:normal;min-width:20em;max-width:60em;overflow-wrap:anywhere;color:var(--lost)}
.long{display:inline-block;width:max-content;max-width:22em;white-space:normal;overflow-wrap:anywhere;vertical-align:top}
caption{text-align:left;color:var(--dim);font-size:14px;padding-bottom:6px}
.notes{margin:0 0 12px;padding-left:1.6em;font-size:14.5px}
sup{line-height:0}
sup a{text-decoration:none;font-weight:600}
.share{display:inline-block;min-width:3.2em;margin-right:8px;text-align:right}
details{margin-top:20px}
summary{cursor:pointer;color:var(--accent);font-size:15px}
"""

_PICTURES = """
figure{margin:20px 0 0}
svg{display:block;width:100%;height:auto;overflow:visible}
svg text{fill:var(--dim);font-size:12px;font-variant-numeric:tabular-nums}
svg .name,svg .strong,svg .axis-title{fill:var(--ink)}
svg .strong,svg .axis-title{font-weight:600}
svg .value{font-size:11px;paint-order:stroke;stroke:var(--page);stroke-width:3px}
svg .label{paint-order:stroke;stroke:var(--page);stroke-width:4px;stroke-linejoin:round}
svg .on-front{fill:var(--ink);font-weight:600}
.solid{fill:var(--c)}
.shaded{fill:var(--c);opacity:.3}
.hollow{fill:var(--page);stroke:var(--c);stroke-width:1.8}
.curve{fill:none;stroke:var(--c);stroke-width:2;stroke-linejoin:round}
.roof{fill:none;stroke:var(--c);stroke-width:2}
.bubble{fill:var(--c);fill-opacity:.55;stroke:var(--c);stroke-width:1.2}
.lost{fill:var(--lost)}
.won{fill:var(--won)}
.grid{stroke:var(--rule);stroke-width:1;fill:none}
.axis{stroke:var(--dim);stroke-width:1;fill:none}
.leader{stroke:var(--dim);stroke-width:.8;fill:none}
.front-line{stroke:var(--ink);stroke-width:1.6;fill:none}
.dominated-area{fill:var(--panel)}
.disturbed{fill:none;stroke:var(--lost);stroke-width:1.4;stroke-dasharray:3 2.5}
.throttled{fill:var(--lost);opacity:.14}
svg.share-bar{height:22px;border-radius:4px;overflow:hidden}
.sign{fill:var(--ink)}
svg.inline-bar{display:inline-block;width:90px;height:10px;margin-right:8px}
.narrow{display:none}
.panels{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,300px),1fr));gap:34px 40px;margin-top:22px}
.panels figure{margin:0}
figcaption{margin-bottom:8px;font-size:14px;line-height:1.4}
figcaption strong{display:block;font-size:15px}
figcaption span{color:var(--dim)}
.legend{display:flex;flex-wrap:wrap;gap:4px 20px;margin:8px 0 0;padding:0;list-style:none;font-size:14px}
.legend svg{display:inline-block;width:16px;height:16px;margin-right:6px;vertical-align:-3px}
.roofline.wide{max-width:760px}
@media (min-width:1130px){.rows{width:min(calc(100vw - 64px),1360px);
margin-left:calc(50% - min(50vw - 32px,680px))}}
@media (max-width:680px){
.wide{display:none}.narrow{display:block}
header,main{padding-left:16px;padding-right:16px}
header{padding-top:28px}
h1{font-size:27px}.lead{font-size:18px}
section{margin-top:40px;padding-top:22px}
.card{padding:16px}
.long{max-width:12em}
.machine{grid-template-columns:1fr;gap:0}.machine dd{margin-bottom:10px}
}
"""

_PAPER = """
@page{size:A4 landscape;margin:12mm}
@media print{
body{font-size:10.5pt}
header,main{max-width:none;padding:0}
nav,details:not([open]){display:none}
.wide{display:block}.narrow{display:none}
section{margin-top:26px;padding-top:16px}
.scroll{overflow:visible;background:none}.rows{width:auto;margin-left:0}
.rows table{font-size:7.4pt}.rows th,.rows td{padding:3px 4.5px}.rows thead th{font-size:7pt}
h1,h2,h3,figcaption,.lead,.about,h3+p,.legend{break-after:avoid}
figure,.card,tr,p,.scroll:not(.rows),.panels>*{break-inside:avoid}
a{color:inherit;text-decoration:none}
.card,.dominated-area,.throttled,pre{print-color-adjust:exact;-webkit-print-color-adjust:exact}
}
"""

STYLE = (
    f":root{{color-scheme:light dark;{_variables(LIGHT)}}}"
    f"@media screen and (prefers-color-scheme:dark){{:root{{{_variables(DARK)}}}}}"
    f"{_COLOUR_CLASSES}{_PAGE}{_TABLES}{_PICTURES}{_PAPER}"
)
