const PAPER = 680; // CSS pixels that fit between the margins of A4 and Letter

function fit(width) {
  for (const place of document.querySelectorAll(".plot[data-drawn]")) {
    Plotly.relayout(place, width ? { width: width, autosize: false } : { width: null, autosize: true });
  }
}

for (const place of document.querySelectorAll(".plot")) {
  const figure = JSON.parse(document.getElementById(place.dataset.figure).textContent);
  const layout = Object.assign({}, figure.layout, { autosize: true });
  delete layout.width;
  place.style.height = (layout.height || 420) + "px";
  const config = Object.assign({}, figure.config, { responsive: true, displaylogo: false, plotlyServerURL: "" });
  Plotly.newPlot(place, figure.data, layout, config).then(() => {
    if (figure.frames) Plotly.addFrames(place, figure.frames);
    place.dataset.drawn = "yes";
  });
}
window.addEventListener("beforeprint", () => fit(PAPER));
window.addEventListener("afterprint", () => fit(0));
