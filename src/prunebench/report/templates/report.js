(() => {
  "use strict";
  const plots = [...document.querySelectorAll("script[data-figure]")].map((script) => ({
    node: document.getElementById(script.dataset.figure),
    spec: JSON.parse(script.textContent),
  }));

  // Texts and grids follow the page's scheme; the data's colours hold on both grounds.
  function scheme() {
    const style = getComputedStyle(document.documentElement);
    const read = (name) => style.getPropertyValue(name).trim();
    return { text: read("--text"), quiet: read("--quiet"), line: read("--line"), ground: read("--ground") };
  }

  function themed(layout) {
    const colours = scheme();
    const result = {
      ...layout,
      font: { family: "system-ui, sans-serif", size: 13, color: colours.text },
      modebar: { bgcolor: "transparent", color: colours.quiet, activecolor: colours.text },
      // A finger scrolls the page; only a mouse zooms by dragging.
      dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
      hoverlabel: { ...layout.hoverlabel, bgcolor: colours.ground, bordercolor: colours.quiet, font: { color: colours.text } },
    };
    for (const name of Object.keys(layout).filter((key) => /^[xy]axis/.test(key))) {
      result[name] = { ...layout[name], gridcolor: colours.line, linecolor: colours.quiet, tickcolor: colours.quiet };
    }
    return result;
  }

  const config = {
    responsive: true,
    displaylogo: false,
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
    toImageButtonOptions: { format: "svg" },
  };

  function draw({ node, spec }) {
    node.drawn = true;
    const file = { ...config.toImageButtonOptions, filename: node.id };
    const colours = scheme();
    const data = spec.data.map((trace) => (trace.texttemplate ? { ...trace, textfont: { color: colours.text } } : trace));
    window.Plotly.react(node, data, themed(spec.layout), { ...config, toImageButtonOptions: file });
  }

  // Figures in view come first, the others when the browser has time.
  const idle = window.requestIdleCallback ?? ((run) => setTimeout(run, 1));
  function drawRest() {
    const next = plots.find(({ node }) => !node.drawn);
    if (next) {
      draw(next);
      idle(drawRest, { timeout: 300 });
    }
  }
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const plot = plots.find(({ node }) => node === entry.target);
      if (entry.isIntersecting && !plot.node.drawn) draw(plot);
    }
  }, { rootMargin: "200px" });
  plots.forEach(({ node }) => watcher.observe(node));
  idle(drawRest, { timeout: 300 });

  const redraw = () => plots.forEach(draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  matchMedia("print").addEventListener("change", redraw);
  addEventListener("beforeprint", redraw);
})();
