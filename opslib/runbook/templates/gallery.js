"use strict";
(() => {
  const words = document.getElementById("words");
  const count = document.getElementById("count");
  const none = document.getElementById("none");
  const rows = [...document.querySelectorAll("tr.row")];
  const chips = [...document.querySelectorAll("button.chip")];
  let outcome = "";
  const apply = () => {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const fits = (!outcome || row.dataset.outcome === outcome)
        && wanted.every((word) => row.dataset.search.includes(word));
      row.hidden = !fits;
      shown += fits ? 1 : 0;
    }
    count.textContent = `${shown} of ${rows.length}`;
    none.hidden = shown > 0;
  };
  words.addEventListener("input", apply);
  for (const chip of chips) {
    chip.addEventListener("click", () => {
      outcome = chip.dataset.outcome;
      for (const one of chips) one.setAttribute("aria-pressed", String(one === chip));
      apply();
    });
  }
  apply();
})();
