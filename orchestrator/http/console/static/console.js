"use strict";
// Keeps the live parts of a page fresh. Nothing needs this: every page is whole as it is sent.
//
// A part says in data-live what it is about. The server tells when that has changed; the page is then fetched
// anew and its parts are swapped. data-clock: seconds after which a part is out of date all the same.

(() => {
  const TRY_AGAIN_MS = 10000;
  const main = document.getElementById("main");
  const state = document.getElementById("live-state");
  const parts = () => [...document.querySelectorAll("[data-live]")].filter((part) => part.dataset.live);
  const topics = (part) => part.dataset.live.split(" ");
  const address = main.dataset.page || location.href;

  // -- what is on the page ---------------------------------------------------------------------------------

  const say = (text) => {
    if (state.textContent !== text) state.textContent = text;
  };

  const opened = (part) =>
    new Set([...part.querySelectorAll("details[data-key][open]")].map((each) => each.dataset.key));

  // A click is lost when what it began on is swapped before the button is let go.
  let pressed = false;
  addEventListener("pointerdown", () => { pressed = true; }, true);
  for (const name of ["pointerup", "pointercancel"]) addEventListener(name, () => { pressed = false; }, true);

  const chosenAtFirst = (select) => Math.max(0, [...select.options].findIndex((each) => each.defaultSelected));

  // Whether somebody has typed or chosen something that would be lost.
  const filled = (part) => {
    const fields = [...part.querySelectorAll("input:not([type=hidden]), select, textarea")];
    return fields.some((each) => (each.tagName === "SELECT" ? each.selectedIndex !== chosenAtFirst(each) : each.value !== each.defaultValue));
  };

  const busy = (part) => {
    if (pressed) return true;
    const selection = getSelection();
    const selects = selection && !selection.isCollapsed && part.contains(selection.anchorNode);
    return selects || filled(part) || (part.contains(document.activeElement) && document.activeElement !== part);
  };

  const replace = (part, fresh) => {
    const open = opened(part);
    const scrolled = [...part.querySelectorAll(".scroll")].map((each) => each.scrollLeft);
    part.replaceChildren(...fresh.childNodes);
    for (const name of ["live", "clock"]) if (fresh.dataset[name] !== undefined) part.dataset[name] = fresh.dataset[name];
    for (const each of part.querySelectorAll("details[data-key]")) each.open = open.has(each.dataset.key);
    part.querySelectorAll(".scroll").forEach((each, at) => { each.scrollLeft = scrolled[at] || 0; });
  };

  // -- fetching it anew ------------------------------------------------------------------------------------

  const stale = new Set();
  let fetching = false;
  let fetched = Date.now();

  const refresh = async () => {
    if (fetching || stale.size === 0 || document.hidden) return;
    fetching = true;
    const wanted = new Set(stale);
    stale.clear();
    try {
      const answer = await fetch(address, { headers: { Accept: "text/html", "X-Live": "1" }, cache: "no-store" });
      if (answer.redirected && new URL(answer.url).pathname === "/console/login") {
        signedOut();
        return;
      }
      if (!answer.ok) throw new Error(String(answer.status));
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const part of parts().filter((each) => wanted.has(each.id))) {
        const fresh = page.getElementById(part.id);
        if (!fresh || fresh.innerHTML === part.innerHTML) continue;
        if (busy(part)) stale.add(part.id);
        else replace(part, fresh);
      }
      const read = page.querySelector(".bottom time");
      if (read) document.querySelector(".bottom time").replaceWith(read);
      fetched = Date.now();
      say("live");
    } catch {
      for (const id of wanted) stale.add(id);
      say("not live just now; trying again");
    } finally {
      fetching = false;
    }
    if (parts().length === 0) stop("");
  };

  // Signing in leads back here; what is typed stays, and is kept by the server when it is sent.
  let leaving = false;
  const signedOut = () => {
    const kept = [...main.querySelectorAll("textarea")].some((each) => each.value !== "");
    if (kept || filled(main)) {
      leaving = true;
      stop("signed out: what you have typed is kept when you send it and sign in");
    } else location.assign(address);
  };

  const changed = (about) => {
    for (const part of parts()) if (!about || topics(part).some((topic) => about.includes(topic))) stale.add(part.id);
    refresh();
  };

  // -- hearing of changes, while the page is in sight ------------------------------------------------------

  let source = null;
  let ticking = null;
  let trying = null;

  const listen = () => {
    const about = [...new Set(parts().flatMap(topics))].map((topic) => ["topic", topic]);
    source = new EventSource(`/console/events?${new URLSearchParams(about)}`);
    // Something may have changed since the page was made.
    source.addEventListener("open", () => changed());
    source.addEventListener("changed", (event) => changed(JSON.parse(event.data)));
    source.addEventListener("signed-out", signedOut);
    source.addEventListener("error", () => {
      say("not live just now; trying again");
      if (source && source.readyState === EventSource.CLOSED) trying = setTimeout(start, TRY_AGAIN_MS);
    });
  };

  const tick = () => {
    const age = (Date.now() - fetched) / 1000;
    for (const part of parts()) if (Number(part.dataset.clock) <= age) stale.add(part.id);
    refresh();
    for (const each of document.querySelectorAll("time[data-ago]")) each.textContent = ago(each.dateTime);
  };

  const stop = (text) => {
    if (source) source.close();
    source = null;
    clearInterval(ticking);
    clearTimeout(trying);
    say(text);
  };

  const start = () => {
    if (leaving) return;
    stop("");
    if (document.hidden || parts().length === 0) return;
    listen();
    ticking = setInterval(tick, 2000);
  };

  // -- times in words, as the server writes them -----------------------------------------------------------

  const UNITS = [[86400, "d", 3600, "h"], [3600, "h", 60, "min"], [60, "min", 1, "s"]];

  // How far this machine's clock is ahead of the server's; what the page took to get here counts as nothing.
  const ahead = Date.now() - Date.parse(document.querySelector(".bottom time").dateTime);

  const duration = (seconds) => {
    if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
    for (const [size, unit, part, smaller] of UNITS) {
      if (seconds < size) continue;
      const rest = Math.floor((seconds % size) / part);
      return `${Math.floor(seconds / size)} ${unit}${rest ? ` ${rest} ${smaller}` : ""}`;
    }
    return `${Math.round(seconds)} s`;
  };

  const ago = (moment) => {
    const seconds = (Date.now() - ahead - Date.parse(moment)) / 1000;
    return seconds >= 0 ? `${duration(seconds)} ago` : `in ${duration(-seconds)}`;
  };

  if (parts().length === 0 || location.search.includes("cursor=")) return;
  document.addEventListener("visibilitychange", start);
  start();
})();
