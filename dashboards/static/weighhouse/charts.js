/* Draws every chart of the page from its JSON, in the colours of the theme, again after htmx swaps and theme switches. */
(function () {
  "use strict";
  /* Figures are made on the server with these stand-ins (dashboards/charts/base.py) for colours that differ by theme. */
  const STAND_INS = { "#010101": "--ink", "#020202": "--ink-2", "#030303": "--ink-3", "#040404": "--line", "#050505": "--surface",
    "#060606": "--accent", "#070707": "--ok", "#080808": "--warn", "#090909": "--danger", "#0a0a0a": "--ice", "#0b0b0b": "--line-2" };
  const CONFIG = { displayModeBar: false, responsive: true, doubleClick: "reset", scrollZoom: false };

  function palette() {
    const probe = document.createElement("span");
    document.body.append(probe);
    const colours = {};
    for (const [standIn, token] of Object.entries(STAND_INS)) {
      probe.style.color = `var(${token})`;
      colours[standIn] = getComputedStyle(probe).color;
    }
    probe.remove();
    return colours;
  }
  function themed(value, colours) {
    if (typeof value === "string") return colours[value] ?? value.replace(/#0[0-9a-b]0[0-9a-b]0[0-9a-b]\b/g, (found) => colours[found] ?? found);
    if (Array.isArray(value)) return value.map((item) => themed(item, colours));
    if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, themed(item, colours)]));
    return value;
  }
  /* Narrow charts lose the room kept for labels at the right and name their series below instead; marks are named in the list below. */
  function fitted(layout, width) {
    if (width >= 520) return layout;
    const labels = layout.annotations || [];
    const kept = labels.filter((annotation) => annotation.name !== "series-label" && annotation.name !== "mark-label");
    const hadLabels = labels.some((annotation) => annotation.name === "series-label");
    const hadMarks = labels.some((annotation) => annotation.name === "mark-label");
    return { ...layout, annotations: kept, showlegend: hadLabels || layout.showlegend, margin: { ...layout.margin, r: 12, ...(hadMarks ? { t: 12 } : {}) },
      legend: { orientation: "h", y: -0.18, x: 0, font: { size: 11 } } };
  }
  function draw(chart, colours) {
    const plot = chart.querySelector(".plot");
    const figure = JSON.parse(chart.querySelector(".figure-data").textContent);
    const { data, layout } = themed(figure, colours);
    const shown = fitted(layout, plot.clientWidth);
    window.Plotly.react(plot, data, shown, CONFIG).then(() => {
      if (chart.dataset.drawn) return;
      chart.dataset.drawn = "1";
      plot.on("plotly_click", (event) => {
        const address = event.points[0]?.customdata;
        const href = Array.isArray(address) ? address[0] : address;
        if (typeof href === "string" && href.startsWith("/")) location.href = href;
      });
    });
  }
  function drawAll(within = document) {
    if (!window.Plotly) return;
    const colours = palette();
    const whole = within.closest?.("[data-chart]");
    [...within.querySelectorAll("[data-chart]"), ...(whole ? [whole] : [])].forEach((chart) => {
      if (!chart.querySelector(".plot").hidden) draw(chart, colours);
    });
  }
  document.addEventListener("click", (event) => {
    const table = event.target.closest("[data-chart-table]");
    if (table) {
      const chart = table.closest("[data-chart]");
      const shows = table.getAttribute("aria-pressed") !== "true";
      table.setAttribute("aria-pressed", String(shows));
      table.textContent = shows ? "Show as chart" : "Show as table";
      chart.querySelector(".as-table").hidden = !shows;
      chart.querySelector(".plot").hidden = shows;
      if (!shows) draw(chart, palette());
      return;
    }
    const png = event.target.closest("[data-chart-png]");
    if (png) {
      const chart = png.closest("[data-chart]");
      const surface = palette()["#050505"];
      const plot = chart.querySelector(".plot");
      if (plot.hidden) chart.querySelector("[data-chart-table]").click();
      window.Plotly.toImage({ data: plot.data, layout: { ...plot.layout, paper_bgcolor: surface, title: { text: chart.dataset.title, font: { size: 15 } }, margin: { ...plot.layout.margin, t: 56 } } },
        { format: "png", width: 1200, height: 600, scale: 2 }).then((url) => {
        const link = document.createElement("a");
        link.href = url;
        link.download = `${chart.dataset.chart}.png`;
        link.click();
      });
    }
  });
  /* A chart that a swap replaces is taken down properly, so that Plotly's listeners do not pile up. */
  document.addEventListener("htmx:beforeCleanupElement", (event) => {
    if (event.target.matches?.("[data-chart]") && window.Plotly) window.Plotly.purge(event.target.querySelector(".plot"));
  });
  document.addEventListener("themechange", () => drawAll());
  document.addEventListener("htmx:afterSettle", (event) => drawAll(event.target.parentElement || document));
  let width = innerWidth;
  addEventListener("resize", () => { if ((width < 560) !== (innerWidth < 560)) { width = innerWidth; drawAll(); } });
  if (document.readyState === "loading") addEventListener("DOMContentLoaded", () => drawAll()); else drawAll();
})();
