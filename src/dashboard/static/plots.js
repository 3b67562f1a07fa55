// The plots of the overview. What they show is in the table below them, too.
(() => {
  const root = document.getElementById("plots");
  if (!root) return;
  const HEIGHT = 170;
  const EVERY = 20000;
  const SPANS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400, 604800, 2592000, 31536000];
  const dash = [6, 4];
  const count = (value) => (value === null ? "–" : value.toLocaleString("en", { maximumFractionDigits: 2 }));
  const share = (value) => (value === null ? "–" : `${count(value)} %`);
  const span = (value) => {
    if (value === null) return "–";
    if (value > 0 && value < 1) return `${count(value * 1000)} ms`;
    if (value < 120) return `${count(value)} s`;
    return value < 3600 ? `${count(value / 60)} min` : `${count(value / 3600)} h`;
  };
  const middle = { label: "p50", colour: "accent" };
  const slowest = { label: "p95", colour: "warn", dash };
  const kinds = {
    rates: {
      shown: count,
      lines: [
        { of: "came", label: "came", colour: "quiet", dash },
        { of: "succeeded", label: "succeeded", colour: "good" },
        { of: "failed", label: "failed", colour: "bad" },
      ],
    },
    depth: { shown: count, lines: [{ of: "depth", label: "waiting", colour: "accent" }] },
    oldest: { shown: span, steps: SPANS, lines: [{ of: "oldest", label: "oldest", colour: "warn" }] },
    share: { shown: share, lines: [{ of: "share", label: "failed", colour: "bad" }] },
    waits: { shown: span, powers: true, lines: [{ of: "wait_p50", ...middle }, { of: "wait_p95", ...slowest }] },
    runs: { shown: span, powers: true, lines: [{ of: "run_p50", ...middle }, { of: "run_p95", ...slowest }] },
  };

  // A custom property is not resolved until something has that colour.
  const probe = document.createElement("span");
  probe.hidden = true;
  root.append(probe);
  const colour = (name) => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  };
  const clock = (seconds, step) => {
    const text = new Date(seconds * 1000).toISOString();
    return step >= 86400 ? text.slice(5, 10) : text.slice(11, 16);
  };

  // A line begins with two points: one with nothing on either side is a dot.
  const alone = (plot, line, all) => {
    const isNothing = (value) => value === null || value === undefined;
    const isAlone = (value, at, values) => !isNothing(value) && isNothing(values[at - 1]) && isNothing(values[at + 1]);
    return all ? null : plot.data[line].flatMap((value, at, values) => (isAlone(value, at, values) ? [at] : []));
  };

  const options = (kind, width) => {
    const ink = { stroke: colour("quiet"), grid: { stroke: colour("line"), width: 1 }, ticks: { show: false } };
    return {
      width,
      height: HEIGHT,
      cursor: { drag: { x: false, y: false }, y: false },
      scales: { y: kind.powers ? { distr: 3 } : { range: (plot, least, most) => [0, Math.max(most, 1) * 1.05] } },
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
      axes: [
        { ...ink, size: 30, values: (plot, splits, axis, space, step) => splits.map((one) => clock(one, step)) },
        { ...ink, size: 62, ...(kind.steps && { incrs: kind.steps }), values: (plot, splits) => splits.map((one) => (one === null ? "" : kind.shown(one))) },
      ],
      series: [
        { label: "UTC", value: (plot, value) => (value === null ? "–" : clock(value, 0)) },
        ...kind.lines.map((line) => ({
          label: line.label,
          stroke: colour(line.colour),
          width: 2,
          dash: line.dash,
          points: { show: (plot) => plot.data[0].length < 3, filter: alone, size: 6, fill: colour(line.colour) },
          value: (plot, value) => kind.shown(value),
        })),
      ],
    };
  };

  let columns = null;
  let drawn = [];
  const data = (kind) => [columns.at, ...kind.lines.map((line) => columns[line.of])];
  const draw = () => {
    drawn.forEach((one) => one.plot.destroy());
    drawn = [...root.querySelectorAll("[data-plot]")].map((place) => {
      const kind = kinds[place.dataset.plot];
      place.replaceChildren();
      return { place, kind, plot: new uPlot(options(kind, place.clientWidth), data(kind), place) };
    });
  };
  const look = async () => {
    let answer;
    try {
      answer = await fetch(root.dataset.source, { headers: { "HX-Request": "true" } });
    } catch {
      return; // the next look may find it
    }
    if (!answer.ok) return;
    columns = await answer.json();
    if (drawn.length) drawn.forEach((one) => one.plot.setData(data(one.kind)));
    else draw();
  };

  const again = () => columns && draw();
  document.getElementById("theme-switch").addEventListener("click", again);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  new ResizeObserver(() => {
    drawn.forEach((one) => one.plot.setSize({ width: one.place.clientWidth, height: HEIGHT }));
  }).observe(root);
  const isLive = () => document.getElementById("live-switch").getAttribute("aria-pressed") === "true";
  setInterval(() => !document.hidden && isLive() && look(), EVERY);
  look();
})();
