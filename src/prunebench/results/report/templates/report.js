(() => {
  "use strict";
  const PRINTED_WIDTH = 660;
  const NARROW = 520;
  const plots = [...document.querySelectorAll("script[data-figure]")].map((script) => ({
    node: document.getElementById(script.dataset.figure),
    spec: JSON.parse(script.textContent),
    drawn: false,
  }));
  const paper = matchMedia("print");
  const touched = matchMedia("(pointer: coarse)");
  let printing = false;

  // Plotly is text until the page has been painted, so that reading need not wait for it.
  function load() {
    if (window.Plotly) return;
    const library = document.createElement("script");
    library.textContent = document.getElementById("plotly").textContent;
    document.head.append(library);
  }

  // Texts and grids follow the page's scheme; the data's colours hold on both grounds.
  function scheme() {
    const style = getComputedStyle(document.documentElement);
    const read = (name) => style.getPropertyValue(name).trim();
    return { text: read("--text"), quiet: read("--quiet"), line: read("--line"), ground: read("--ground") };
  }

  function layoutOf(spec, colours, room, narrow) {
    const layout = {
      ...spec.layout,
      font: { family: "system-ui, sans-serif", size: 13, color: colours.text },
      modebar: { bgcolor: "transparent", color: colours.quiet, activecolor: colours.text },
      // A finger scrolls the page; only a mouse zooms by dragging.
      dragmode: touched.matches ? false : "zoom",
      hoverlabel: {
        ...spec.layout.hoverlabel,
        bgcolor: colours.ground,
        bordercolor: colours.quiet,
        font: { color: colours.text },
      },
    };
    for (const name of Object.keys(layout).filter((key) => /^[xy]axis/.test(key))) {
      layout[name] = {
        ...layout[name],
        gridcolor: colours.line,
        linecolor: colours.quiet,
        tickcolor: colours.quiet,
        // Names of classes would run into each other.
        ...(narrow && name.startsWith("x") && layout[name].type === "category" && { tickangle: -60 }),
      };
    }
    const width = printing ? PRINTED_WIDTH : room;
    // Names have places for certain widths: the widest that fits.
    const size = spec.sizes?.findLast((each) => each.width <= width) ?? spec.sizes?.[0];
    if (size) return { ...layout, ...size };
    return printing ? { ...layout, width } : { ...layout, autosize: true };
  }

  const shown = ({ node }) => printing || node.clientWidth > 0;

  function draw(plot) {
    load();
    plot.drawn = true;
    const { node, spec } = plot;
    const colours = scheme();
    const narrow = !printing && node.clientWidth < NARROW;
    const data = spec.data.map((trace) => {
      if (!trace.texttemplate) return trace;
      // Without room for numbers, the stars of what is shown remain.
      const star = (text) => (text.includes("*") ? "<b>*</b>" : "");
      const text = narrow ? trace.text.map((row) => row.map(star)) : trace.text;
      return { ...trace, text, textfont: { color: colours.text } };
    });
    const config = {
      responsive: !printing,
      displaylogo: false,
      displayModeBar: touched.matches ? false : "hover",
      modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
      toImageButtonOptions: { format: "svg", filename: node.id },
    };
    window.Plotly.react(node, data, layoutOf(spec, colours, node.clientWidth, narrow), config);
    // The description of the figure stands for its drawing.
    node.querySelectorAll(".main-svg").forEach((svg) => svg.setAttribute("aria-hidden", "true"));
  }

  // Figures in view come first, the others when the browser has time.
  const idle = window.requestIdleCallback ?? ((run) => setTimeout(run, 1));
  function drawRest() {
    const next = plots.find((plot) => !plot.drawn && shown(plot));
    if (next) {
      draw(next);
      idle(drawRest, { timeout: 300 });
    }
  }
  function start() {
    const watcher = new IntersectionObserver((entries) => {
      for (const entry of entries.filter((each) => each.isIntersecting)) {
        const plot = plots.find(({ node }) => node === entry.target);
        if (!plot.drawn) draw(plot);
      }
    }, { rootMargin: "200px" });
    plots.forEach(({ node }) => watcher.observe(node));
    idle(drawRest, { timeout: 300 });
  }
  requestAnimationFrame(() => setTimeout(start));

  // What is folded is drawn when it is unfolded.
  function redraw() {
    for (const plot of plots) {
      if (shown(plot)) draw(plot);
      else plot.drawn = false;
    }
  }

  const folds = [...document.querySelectorAll("details")];
  let folded = [];
  function print(onPaper) {
    if (onPaper === printing) return;
    printing = onPaper;
    if (onPaper) folded = folds.filter((fold) => !fold.open);
    for (const fold of folded) fold.open = onPaper;
    redraw();
  }

  const all = document.querySelector(".tools button");
  if (all) {
    all.hidden = false;
    all.addEventListener("click", () => {
      const open = folds.some((fold) => !fold.open);
      for (const fold of folds) fold.open = open;
      [all.textContent, all.dataset.other] = [all.dataset.other, all.textContent];
    });
  }
  // A link to a section opens it.
  function reveal() {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    const fold = target && (target.querySelector(":scope > details") ?? target.closest("details"));
    if (fold && !fold.open) {
      fold.open = true;
      target.scrollIntoView();
    }
  }
  reveal();
  addEventListener("hashchange", reveal);

  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth !== width) requestAnimationFrame(redraw);
    width = innerWidth;
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  paper.addEventListener("change", () => print(paper.matches));
  addEventListener("beforeprint", () => print(true));
  addEventListener("afterprint", () => print(false));
})();
