"use strict";
// Live numbers by server-sent events. Each connection begins with all of them, so that after a lost one the page is simply right again.
(function live() {
  const part = document.querySelector("[data-events]");
  if (!part || !window.EventSource) return;
  const lost = document.querySelector("[data-lost]");
  const said = document.querySelector("[data-said]");
  const asOf = document.querySelector("[data-asof]");
  const people = document.getElementById("people");
  const quietMs = 40000; // the server sends something every 15 s
  const staleMs = 20000; // after a pause of the page
  const retryMs = [1000, 2000, 5000, 10000, 30000];
  const peopleMs = 30000; // between two looks at the lists of patients, each of which is recorded
  let source = null, heard = 0, tries = 0, timer = 0, headline = "", shownPeople = "", peopleAt = Date.now(), peopleTimer = 0;

  function say(text) { lost.textContent = text; lost.hidden = !text; }
  function away(why) { say(why + " The numbers are as of " + asOf.textContent + "."); }
  function close() { if (source) source.close(); source = null; }

  // An element keeps what a person has done to it: what is open, how far it is scrolled, where the focus is.
  function replace(old, fresh) {
    const kept = new Map();
    for (const e of old.querySelectorAll("[data-keep]")) kept.set(e.dataset.keep, { open: e.open, top: e.scrollTop, left: e.scrollLeft });
    const focus = old.contains(document.activeElement) ? [...old.querySelectorAll("a,button,summary,[tabindex]")].indexOf(document.activeElement) : -1;
    const href = focus >= 0 ? document.activeElement.getAttribute("href") : null;
    old.replaceChildren(...fresh.childNodes);
    for (const e of old.querySelectorAll("[data-keep]")) {
      const k = kept.get(e.dataset.keep);
      if (!k) continue;
      if (k.open !== undefined) e.open = k.open;
      e.scrollTop = k.top; e.scrollLeft = k.left;
    }
    if (focus >= 0) {
      const all = [...old.querySelectorAll("a,button,summary,[tabindex]")];
      const same = href === null ? all[focus] : all.find((e) => e.getAttribute("href") === href) || all[focus];
      if (same) same.focus({ preventScroll: true });
    }
  }

  // Screen readers hear the verdict when it changes, and not every number.
  function announce() {
    const now = part.querySelector(".verdict h1");
    const text = now ? now.textContent : "";
    if (headline && text !== headline) said.textContent = text;
    headline = text;
  }

  function peopleState() { const e = part.querySelector("[data-people]"); return e ? e.dataset.people : ""; }
  function lookAtPeople() {
    if (peopleTimer || !people || peopleState() === shownPeople) return;
    peopleTimer = setTimeout(async () => {
      peopleTimer = 0;
      if (document.hidden || !source) return;
      const state = peopleState();
      peopleAt = Date.now();
      try {
        const answer = await fetch(people.dataset.from, { headers: { Accept: "text/html" }, credentials: "same-origin" });
        if (!answer.ok) return; // the next change asks again
        const box = document.createElement("div");
        box.innerHTML = await answer.text();
        replace(people, box);
        shownPeople = state;
        people.dataset.loaded = state;
      } catch (e) { /* the stream says that the connection is lost */ }
      lookAtPeople();
    }, Math.max(0, peopleAt + peopleMs - Date.now()));
  }

  function again() {
    close();
    clearTimeout(timer);
    timer = setTimeout(connect, retryMs[Math.min(tries++, retryMs.length - 1)]);
  }

  // EventSource does not say why it was refused: somebody who is signed out signs in again.
  async function refused() {
    try {
      const answer = await fetch("/api/me", { credentials: "same-origin" });
      if (answer.status === 401 || answer.status === 403) { location.reload(); return; }
      away(answer.ok ? "Noctua serves no live numbers at the moment; trying again." : "Noctua does not answer; trying again.");
    } catch (e) { away("The connection is lost; trying again."); }
    again();
  }

  function connect() {
    clearTimeout(timer);
    if (document.hidden) return;
    close();
    heard = Date.now();
    const s = source = new EventSource(part.dataset.events);
    const hear = (event, act) => s.addEventListener(event, (e) => { if (s === source) { heard = Date.now(); act(e.data); } });
    hear("night", (html) => {
      const box = document.createElement("template");
      box.innerHTML = html;
      for (const fresh of box.content.querySelectorAll("[data-part]")) {
        const old = part.querySelector('[data-part="' + fresh.dataset.part + '"]');
        if (old && old.innerHTML !== fresh.innerHTML) replace(old, fresh);
      }
      tries = 0;
      say("");
      announce();
      lookAtPeople();
      part.dataset.live = "yes";
    });
    hear("asof", (text) => { asOf.textContent = text; tries = 0; say(""); });
    hear("trouble", (text) => away(text));
    hear("over", () => { close(); location.reload(); });
    s.onerror = () => {
      if (s !== source) return;
      part.dataset.live = "no";
      if (s.readyState === EventSource.CLOSED) { close(); refused(); return; }
      away("The connection is lost; trying again.");
      again();
    };
  }

  // A page that nobody sees has no stream: browsers open few connections to a server.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { close(); clearTimeout(timer); return; }
    tries = 0;
    connect();
  });
  window.addEventListener("online", () => { tries = 0; connect(); });
  window.addEventListener("pageshow", (e) => { if (e.persisted) connect(); });
  window.addEventListener("pagehide", close);
  // After a sleep the connection may look alive and be dead.
  let ticked = Date.now();
  setInterval(() => {
    const now = Date.now(), slept = now - ticked > staleMs;
    ticked = now;
    if (document.hidden || !source) return;
    if (slept || now - heard > quietMs) {
      away("The connection is lost; trying again.");
      connect();
    }
  }, 5000);
  shownPeople = peopleState();
  announce();
  connect();
})();
