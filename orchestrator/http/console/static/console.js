"use strict";
// Keeps the live parts of a page fresh. Nothing needs this: every page is whole as it is sent.

(() => {
  const live = () => [...document.querySelectorAll("[data-live]")].filter((part) => Number(part.dataset.live) > 0);
  const state = document.getElementById("live-state");
  if (live().length === 0 || location.search.includes("cursor=")) return;

  const pause = () => Math.min(...live().map((part) => Number(part.dataset.live))) * 1000;
  let failures = 0;
  let timer;

  const say = (text) => {
    if (state.textContent !== text) state.textContent = text;
  };

  const opened = (part) =>
    new Set([...part.querySelectorAll("details[data-key][open]")].map((each) => each.dataset.key));

  const busy = (part) => {
    const selection = getSelection();
    const selects = selection && !selection.isCollapsed && part.contains(selection.anchorNode);
    const fields = [...part.querySelectorAll("input:not([type=hidden]), select")];
    const filled = fields.some((each) => (each.tagName === "SELECT" ? each.selectedIndex > 0 : each.value !== each.defaultValue));
    return selects || filled || (part.contains(document.activeElement) && document.activeElement !== part);
  };

  const replace = (part, fresh) => {
    const open = opened(part);
    const scrolled = [...part.querySelectorAll(".scroll")].map((each) => each.scrollLeft);
    part.replaceChildren(...fresh.childNodes);
    part.dataset.live = fresh.dataset.live;
    for (const each of part.querySelectorAll("details[data-key]")) each.open = open.has(each.dataset.key);
    part.querySelectorAll(".scroll").forEach((each, at) => { each.scrollLeft = scrolled[at] || 0; });
  };

  const refresh = async () => {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
    if (answer.redirected && new URL(answer.url).pathname === "/console/login") {
      location.assign(answer.url);
      return;
    }
    if (!answer.ok) throw new Error(String(answer.status));
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of live()) {
      const fresh = page.getElementById(part.id);
      if (fresh && !busy(part) && fresh.innerHTML !== part.innerHTML) replace(part, fresh);
    }
  };

  const tick = async () => {
    clearTimeout(timer);
    if (document.hidden) {
      say("");
      return;
    }
    try {
      await refresh();
      failures = 0;
      say("live");
    } catch {
      failures += 1;
      say("not live just now; trying again");
    }
    if (live().length > 0) timer = setTimeout(tick, pause() * 2 ** Math.min(failures, 4));
    else say("");
  };

  document.addEventListener("visibilitychange", () => { if (!document.hidden) tick(); });
  timer = setTimeout(tick, pause());
})();
