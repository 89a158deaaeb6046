"use strict";
// Live numbers: the part of the page that changes is fetched again; after a lost connection it is simply right again.
(function live() {
  const part = document.querySelector("[data-live]");
  if (!part) return;
  const everyMs = 2000;
  async function refresh() {
    try {
      if (!document.hidden) {
        const answer = await fetch(part.dataset.live, { headers: { Accept: "text/html" }, credentials: "same-origin" });
        if (answer.status === 401) { location.reload(); return; }
        if (!answer.ok) throw new Error("status " + answer.status);
        const text = await answer.text();
        if (text !== part.dataset.last) { part.innerHTML = text; part.dataset.last = text; }
      }
    } catch (e) {
      const lost = document.getElementById("lost");
      if (lost) lost.hidden = false;
      part.dataset.last = "";
    }
    setTimeout(refresh, everyMs);
  }
  setTimeout(refresh, everyMs);
})();
