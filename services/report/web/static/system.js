"use strict";
// The board follows by itself: the page is fetched again, and of it those sections are replaced that changed. What a person opened stays open, and where
// the keyboard is, it stays.
(function follow() {
  const board = document.querySelector("[data-board]");
  if (!board) return;
  const everyMs = 5000;
  const stale = document.getElementById("stale");
  const last = new Map(); // section id to what the service sent for it
  const sections = (root) => [...root.querySelectorAll("[data-board] [id]")].filter((e) => e.matches("section[id], #asof"));
  for (const s of sections(document)) last.set(s.id, s.outerHTML);
  async function refresh() {
    try {
      if (!document.hidden) {
        const answer = await fetch("/system", { headers: { Accept: "text/html" }, credentials: "same-origin" });
        if (answer.status === 401) { location.reload(); return; }
        if (!answer.ok) throw new Error("status " + answer.status);
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
        for (const now of sections(fresh)) {
          const here = document.getElementById(now.id);
          if (!here || last.get(now.id) === now.outerHTML) continue;
          last.set(now.id, now.outerHTML);
          const focused = here.contains(document.activeElement) ? document.activeElement : null;
          if (focused && !focused.id) { last.delete(now.id); continue; } // the next time, when the keyboard is elsewhere
          for (const d of now.querySelectorAll("details[id]")) d.open = document.getElementById(d.id)?.open ?? false;
          here.replaceWith(document.importNode(now, true));
          if (focused) document.getElementById(focused.id)?.focus({ preventScroll: true });
        }
        stale.hidden = true;
      }
    } catch (e) {
      document.getElementById("stale-since").textContent = document.querySelector("#asof time").textContent;
      stale.hidden = false;
    }
    setTimeout(refresh, everyMs);
  }
  setTimeout(refresh, everyMs);
})();
