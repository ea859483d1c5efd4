#!/usr/bin/env python3
"""The full congestion grid as tables and plots: grid.py BUILD_DIR OUT_DIR [--from FILE]

Runs bench_grid (some minutes on one core), or reads its lines from FILE, and writes OUT_DIR/*.svg and what stands in OUT_DIR/grid.md between
its two marks.
"""
import json
import os
import statistics
import subprocess
import sys
from collections import defaultdict

NAMES = {"bbr": "BBR", "cubic": "CUBIC", "draft": "BBR of the draft", "polite": "polite"}
CLASSES = {"bbr": "c1", "cubic": "c2", "draft": "c3", "polite": "c4"}
# Grey text and lines read on white and on black; the colours are told apart by lightness and dashes as well.
STYLE = """<style>
text { font: 12px system-ui, sans-serif; fill: #555 } .title { font-weight: 600; fill: #333 }
.axis { stroke: #888; fill: none } .grid { stroke: #8884; fill: none } .line { fill: none; stroke-width: 2 }
.c1 { stroke: #0969da } .c2 { stroke: #cf6a00; stroke-dasharray: 7 3 } .c3 { stroke: #7d8590; stroke-dasharray: 2 3 } .c4 { stroke: #1a9c4b }
.second { stroke-dasharray: 4 3 }
@media (prefers-color-scheme: dark) { text { fill: #b0b8c0 } .title { fill: #e0e4e8 } .c1 { stroke: #58a6ff } .c2 { stroke: #f0a04b } .c4 { stroke: #4ccf7c } }
</style>"""
BEGIN, END = "<!-- tables: bench/grid.py -->", "<!-- end of tables -->"
WIDTH, HEIGHT, LEFT, TOP, BOTTOM, RIGHT = 380, 260, 52, 34, 44, 14


class Panel:
    """One pair of axes; `ticks` are (position 0..1, label)."""

    def __init__(self, title, x_label, y_label, x_ticks, y_most, y_ticks):
        self.title, self.x_label, self.y_label = title, x_label, y_label
        self.x_ticks, self.y_most, self.y_ticks, self.curves = x_ticks, y_most, y_ticks, []

    def add(self, points, css):
        """`points`: (0..1, value)."""
        self.curves.append((points, css))

    def svg(self, left):
        x0, x1 = left + LEFT, left + WIDTH - RIGHT
        y0, y1 = HEIGHT - BOTTOM, TOP
        at_x = lambda part: x0 + part * (x1 - x0)
        at_y = lambda value: y0 - min(value / self.y_most, 1.02) * (y0 - y1)
        out = [f'<text class="title" x="{(x0 + x1) / 2:.0f}" y="18" text-anchor="middle">{self.title}</text>']
        for value in self.y_ticks:
            y = at_y(value)
            out.append(f'<path class="grid" d="M{x0} {y:.1f}H{x1}"/><text x="{x0 - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
        for part, label in self.x_ticks:
            x = at_x(part)
            out.append(f'<path class="axis" d="M{x:.1f} {y0}v4"/><text x="{x:.1f}" y="{y0 + 17}" text-anchor="middle">{label}</text>')
        out.append(f'<path class="axis" d="M{x0} {y1}V{y0}H{x1}"/>')
        out.append(f'<text x="{(x0 + x1) / 2:.0f}" y="{HEIGHT - 8}" text-anchor="middle">{self.x_label}</text>')
        middle = (y0 + y1) / 2
        out.append(f'<text x="{left + 13}" y="{middle:.0f}" text-anchor="middle" transform="rotate(-90 {left + 13} {middle:.0f})">'
                   f'{self.y_label}</text>')
        for points, css in self.curves:
            path = "L".join(f"{at_x(part):.1f} {at_y(value):.1f}" for part, value in points)
            out.append(f'<path class="line {css}" d="M{path}"/>')
        return "\n".join(out)


def write_svg(path, panels, legend):
    """`legend`: (label, css class)."""
    width, height = WIDTH * len(panels), HEIGHT + 26
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">', STYLE]
    out += [panel.svg(WIDTH * number) for number, panel in enumerate(panels)]
    x = LEFT
    for label, css in legend:
        out.append(f'<path class="line {css}" d="M{x} {HEIGHT + 10}h28"/><text x="{x + 34}" y="{HEIGHT + 14}">{label}</text>')
        x += 60 + 7 * len(label)
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(out) + "\n</svg>\n")


def spread(values):
    """Ticks at equal distances, one for each value."""
    return {value: number / (len(values) - 1) for number, value in enumerate(values)}


def draw_loss(lines, out):
    losses = sorted({line["loss"] for line in lines})
    where, panels = spread(losses), []
    for rtt in sorted({line["rtt"] for line in lines}):
        panel = Panel(f"100 Mbit/s, {rtt:g} ms", "lost by the path itself, %", "share of what arrives", [(where[p], f"{p * 100:g}") for p in losses],
                      1, (0, 0.25, 0.5, 0.75, 1))
        for cc in ("draft", "cubic", "bbr"):
            panel.add([(where[line["loss"]], line["share"]) for line in lines if line["rtt"] == rtt and line["cc"] == cc], CLASSES[cc])
        panels.append(panel)
    write_svg(os.path.join(out, "loss.svg"), panels, [(NAMES[cc], CLASSES[cc]) for cc in ("bbr", "cubic", "draft")])


def draw_queue(lines, out):
    buffers = sorted({line["buffer"] for line in lines})
    where = spread(buffers)
    ticks = [(where[b], f"{b:g}") for b in buffers]
    share = Panel("100 Mbit/s, 20 ms", "buffer, products of rate and rtt", "share of the rate", ticks, 1, (0, 0.25, 0.5, 0.75, 1))
    queue = Panel("100 Mbit/s, 20 ms", "buffer, products of rate and rtt", "mean queue, round trips", ticks, 4, (0, 1, 2, 3, 4))
    for cc in ("draft", "cubic", "bbr"):
        mine = [line for line in lines if line["cc"] == cc]
        share.add([(where[line["buffer"]], line["share"]) for line in mine], CLASSES[cc])
        queue.add([(where[line["buffer"]], line["mean_queue"]) for line in mine if line["mean_queue"] <= 4.4], CLASSES[cc])
    write_svg(os.path.join(out, "queue.svg"), [share, queue], [(NAMES[cc], CLASSES[cc]) for cc in ("bbr", "cubic", "draft")])


def draw_curves(lines, path, legend, top):
    panels = []
    for title in dict.fromkeys(line["panel"] for line in lines):
        mine = [line for line in lines if line["panel"] == title]
        last = max(line["t"] for line in mine)
        most = top(title)
        panel = Panel(title, "seconds", "Mbit/s", [(part / 5, f"{last * part / 5:.3g}") for part in range(6)], most,
                      [most * part / 4 for part in range(5)])
        curves = defaultdict(list)
        for line in mine:
            curves[line["flow"], line["cc"]].append((line["t"] / last, line["mbits"]))
        same = len({cc for _, cc in curves}) < len(curves)
        for (flow, cc), points in curves.items():
            panel.add(points, CLASSES[cc] + (" second" if same and flow else ""))
        panels.append(panel)
    write_svg(path, panels, legend)


def grid_table(lines):
    """Share of what the path carries: median, tenth percentile, cells at or above 0.9."""
    ccs = ("bbr", "cubic", "draft")
    rows = ["| cells | n | " + " | ".join(f"{NAMES[cc]}: median, 10th, >= 0.9" for cc in ccs) + " |", "|---|---|" + "---|" * len(ccs)]

    def row(label, keep):
        cells = []
        for cc in ccs:
            shares = sorted(line["share"] for line in lines if line["cc"] == cc and keep(line))
            good = sum(share >= 0.9 for share in shares)
            cells.append(f"{statistics.median(shares):.2f}, {shares[len(shares) // 10]:.2f}, {good}")
        rows.append(f"| {label} | {len(shares)} | " + " | ".join(cells) + " |")

    row("all", lambda line: True)
    for key, unit, scale in (("loss", "% lost", 100), ("buffer", "BDP of buffer", 1), ("rate", "Mbit/s", 1), ("rtt", "ms", 1)):
        for value in sorted({line[key] for line in lines}):
            row(f"{value * scale:g} {unit}", lambda line, key=key, value=value: line[key] == value)
    rows += ["", "Every cell, BBR / CUBIC / draft, with a buffer of one product:", ""]
    losses = sorted({line["loss"] for line in lines})
    rows += ["| path | " + " | ".join(f"{p * 100:g} %" for p in losses) + " |", "|---|" + "---|" * len(losses)]
    share = {(line["rate"], line["rtt"], line["loss"], line["cc"]): line["share"] for line in lines if line["buffer"] == 1}
    for rate, rtt in sorted({key[:2] for key in share}):
        rows.append(f"| {rate:g} Mbit/s, {rtt:g} ms | " + " | ".join(
            " / ".join(f"{share[rate, rtt, p, cc]:.2f}" for cc in ccs) for p in losses) + " |")
    return "\n".join(rows)


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    out = sys.argv[2]
    os.makedirs(out, exist_ok=True)
    if len(sys.argv) > 4 and sys.argv[3] == "--from":
        with open(sys.argv[4], encoding="utf-8") as file:
            text = file.read()
    else:
        text = subprocess.run([os.path.join(sys.argv[1], "bench", "bench_grid")], check=True, capture_output=True, text=True).stdout
    sections = defaultdict(list)
    for line in map(json.loads, text.splitlines()):
        sections[line["section"]].append(line)
    legend = [(NAMES[cc], CLASSES[cc]) for cc in ("bbr", "cubic", "draft")]
    if sections["loss"]:
        draw_loss(sections["loss"], out)
    if sections["queue"]:
        draw_queue(sections["queue"], out)
    if sections["ramp"]:
        draw_curves(sections["ramp"], os.path.join(out, "ramp.svg"), legend, lambda title: float(title.split()[0]))
    if sections["sharing"]:
        draw_curves(sections["sharing"], os.path.join(out, "sharing.svg"),
                    [("BBR", "c1"), ("second BBR", "c1 second"), ("CUBIC", "c2"), ("polite", "c4")], lambda title: 60)
    if sections["grid"]:
        path = os.path.join(out, "grid.md")
        with open(path, encoding="utf-8") as file:
            before, _, rest = file.read().partition(BEGIN)
            after = rest.partition(END)[2]
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"{before}{BEGIN}\n\n{grid_table(sections['grid'])}\n\n{END}{after}")


if __name__ == "__main__":
    main()
