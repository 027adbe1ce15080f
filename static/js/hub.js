// What plain links and forms can't do alone: polling with a rest, ticking times, dialogs, keys.
// Every page works without it.
"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // Live parts ask again only while somebody looks, and not while a menu or field in them is used.
  const resting = (element) =>
    document.hidden || document.documentElement.dataset.live === "off" ||
    element.querySelector("details.menu[open]") !== null;
  document.addEventListener("htmx:config:request", (event) => {
    if (event.target.matches?.("[data-live]") && resting(event.target)) event.preventDefault();
  });
  document.addEventListener("htmx:after:swap", () => {
    tick();
    follow();
    if (cursor) document.getElementById(cursor)?.classList.add("cursor");
    tally();
  });

  // Times count on between two answers.
  const spell = (seconds) => {
    const s = Math.max(0, seconds);
    if (s < 60) return `${s.toFixed(s < 10 ? 1 : 0)} s`;
    const two = (n) => String(Math.floor(n)).padStart(2, "0");
    if (s < 3600) return `${Math.floor(s / 60)} m ${two(s % 60)} s`;
    if (s < 86400) return `${Math.floor(s / 3600)} h ${two((s % 3600) / 60)} m`;
    return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
  };
  const ago = (seconds) => {
    const s = Math.max(0, Math.floor(seconds));
    for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "m"]]) {
      if (s >= size) return `${Math.floor(s / size)} ${unit} ago`;
    }
    return `${s} s ago`;
  };
  // The browser's clock may be off: the page says what the hub's was.
  const skew = Date.now() - Date.parse(document.documentElement.dataset.now);
  const since = (element) => (Date.now() - skew - Date.parse(element.dateTime)) / 1000;
  const write = (element, text) => { if (element.textContent !== text) element.textContent = text; };
  const tick = () => {
    if (document.hidden) return;
    for (const element of all("time[data-since]")) write(element, spell(since(element)));
    for (const element of all("time[data-ago]")) {
      const passed = since(element);
      if (passed >= 0) write(element, ago(passed));
    }
  };
  setInterval(tick, 1000);

  // A log that grows keeps its end in view, if it was in view.
  let atEnd = location.hash === "";
  const follow = () => {
    if (atEnd && document.querySelector(".log [data-live]")) window.scrollTo(0, document.body.scrollHeight);
  };
  addEventListener("scroll", () => {
    atEnd = innerHeight + scrollY >= document.body.scrollHeight - 60;
  }, { passive: true });
  if (document.querySelector(".log [data-live]")) follow();

  // Pages that ask for a confirmation open as a dialog here.
  const open = async (link) => {
    const answer = await fetch(link.href, { credentials: "same-origin" });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const body = page.querySelector(".confirm");
    if (!answer.ok || answer.redirected || !body) { location.href = link.href; return; }
    const dialog = document.createElement("dialog");
    dialog.className = "dialog";
    dialog.setAttribute("aria-labelledby", "confirm-title");
    const ours = document.importNode(body, true);
    for (const form of all("form", ours)) if (!form.getAttribute("action")) form.action = link.href;
    for (const again of all("form[data-again]", ours)) {
      again.addEventListener("change", () => {
        const url = new URL(link.href);
        url.search = new URLSearchParams(new FormData(again)).toString();
        dialog.close();
        open({ href: url.href });
      });
    }
    for (const back of all("a[data-back]", ours)) {
      back.addEventListener("click", (event) => { event.preventDefault(); dialog.close(); });
    }
    dialog.append(ours);
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
  };
  document.addEventListener("click", (event) => {
    if (event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const link = event.target.closest?.("a[data-dialog]");
    if (link) { event.preventDefault(); open(link).catch(() => { location.href = link.href; }); return; }
    const copy = event.target.closest?.("[data-copy]");
    if (copy) {
      navigator.clipboard?.writeText(document.getElementById(copy.dataset.copy).textContent.trim());
      copy.querySelector("span").textContent = "Copied";
    }
    for (const menu of all("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
  });

  // How many runs are ticked.
  const tally = () => {
    const place = document.querySelector("[data-ticked]");
    if (!place) return;
    const ticked = all("[data-tick]:checked").length;
    write(place, ticked ? `${ticked} ticked` : "Ticked runs");
  };
  document.addEventListener("change", (event) => { if (event.target.matches?.("[data-tick]")) tally(); });
  addEventListener("pageshow", tally);

  // Filters answer at once; a form is sent once.
  document.addEventListener("change", (event) => {
    if (event.target.closest?.("form[data-auto]")) event.target.form.requestSubmit();
  });
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method !== "post" || event.defaultPrevented) return;
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "1";
    setTimeout(() => { delete form.dataset.sent; }, 4000);
  });
  addEventListener("pageshow", () => { for (const form of all("form[data-sent]")) delete form.dataset.sent; });

  // Ctrl-K: what the hub suggests for what is typed, chosen with the arrow keys. Enter before it has
  // answered sends the form, which is the search box of every page.
  const palette = document.getElementById("palette");
  if (palette) {
    const [form, field] = [palette.querySelector("form"), palette.querySelector("input")];
    const [list, said] = [palette.querySelector("[role=listbox]"), palette.querySelector("[role=status]")];
    let timer = 0;
    let asked = null;
    let answered = null;
    const options = () => all("[role=option]", list);
    const chosen = () => list.querySelector("[aria-selected=true]");
    const choose = (option) => {
      for (const one of options()) one.setAttribute("aria-selected", String(one === option));
      if (option) field.setAttribute("aria-activedescendant", option.id);
      else field.removeAttribute("aria-activedescendant");
      option?.scrollIntoView({ block: "nearest" });
    };
    const show = (found) => {
      list.replaceChildren(...found);
      field.setAttribute("aria-expanded", String(found.length > 0));
      choose(found[0]);
      write(said, found.length === 1 ? "1 suggestion" : `${found.length} suggestions`);
    };
    const suggest = async () => {
      asked?.abort();
      asked = new AbortController();
      const words = field.value;
      const url = `${form.dataset.suggestions}?${new URLSearchParams({ q: words })}`;
      const answer = await fetch(url, { credentials: "same-origin", signal: asked.signal });
      if (!answer.ok || answer.redirected) return;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      answered = words;
      show(all("[role=option]", page));
    };
    const ask = () => suggest().catch(() => {});  // overtaken, or out of reach: Enter still searches
    field.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(ask, 120); });
    field.addEventListener("keydown", (event) => {
      const found = options();
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (step && found.length) {
        event.preventDefault();
        choose(found[(found.indexOf(chosen()) + step + found.length) % found.length]);
      } else if (event.key === "Enter" && answered === field.value && chosen()) {
        event.preventDefault();
        chosen().click();
      }
    });
    document.addEventListener("keydown", (event) => {
      const wanted = (event.ctrlKey || event.metaKey) && !event.shiftKey && !event.altKey;
      if (!wanted || event.key.toLowerCase() !== "k") return;
      event.preventDefault();
      if (palette.open) { palette.close(); return; }
      if (document.querySelector("dialog[open]")) return;
      form.reset();
      answered = null;
      show([]);
      palette.showModal();
      field.focus();
      ask();
    });
  }

  // Live updates pause in all tabs, until somebody lets them go on.
  const pause = document.getElementById("pause");
  const paused = () => document.documentElement.dataset.live === "off";
  const setPaused = (off) => {
    document.documentElement.dataset.live = off ? "off" : "on";
    pause.setAttribute("aria-pressed", String(off));
    const said = document.getElementById("pause-said");
    write(said, off ? "Live updates are paused: this page stays as it is." : said.textContent && "Live updates go on.");
  };
  if (pause) {
    setPaused(localStorage.getItem("live") === "off");
    pause.hidden = false;
    pause.addEventListener("click", () => {
      setPaused(!paused());
      localStorage.setItem("live", paused() ? "off" : "on");
    });
    addEventListener("storage", (event) => { if (event.key === "live") setPaused(event.newValue === "off"); });
  }

  // Keys: / search, g then o r w e i s j a, j k and Enter in lists, x ticks, r retry, c cancel, l logs, p
  // pauses, ? help.
  let before = "";
  let cursor = "";  // the row's id: a swap takes the class away
  const rows = () => all("tr[data-row]");
  const move = (step) => {
    const found = rows();
    if (!found.length) return;
    const at = found.findIndex((row) => row.classList.contains("cursor"));
    found[at]?.classList.remove("cursor");
    const next = found[Math.min(Math.max(at + step, 0), found.length - 1)];
    next.classList.add("cursor");
    cursor = next.id;
    next.querySelector("a:not(.only)")?.focus({ preventScroll: true });
    next.scrollIntoView({ block: "nearest" });
  };
  const press = (key) => {
    const place = document.querySelector("tr.cursor") ?? document;
    const wanted = place.querySelector(`[data-key="${key}"]:not([disabled])`);
    if (!wanted) return false;
    wanted.click();
    return true;
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    if (event.key === "Escape") {
      for (const menu of all("details.menu[open]")) { menu.open = false; menu.firstElementChild.focus(); }
      return;
    }
    if (event.target.matches("input:not([type=checkbox]):not([type=radio]), textarea, select")) return;
    const pair = before + event.key;
    before = event.key === "g" ? "g" : "";
    const place = {
      go: "overview", gr: "runs", gw: "workflows", ge: "engines", gi: "insights", gs: "secrets",
      gj: "bulk_jobs", ga: "audit",
    }[pair];
    if (place) { document.querySelector(`a[data-go="${place}"]`)?.click(); return; }
    if (event.key === "/") { event.preventDefault(); document.querySelector(".jump input")?.focus(); }
    else if (event.key === "j") move(1);
    else if (event.key === "k") move(-1);
    else if (event.key === "x") document.querySelector("tr.cursor [data-tick]")?.click();
    else if (event.key === "p") pause?.click();
    else if (event.key === "?") document.getElementById("keys")?.showModal();
    else if (event.key.length === 1) press(event.key);
  });
  for (const button of all("[data-close]")) button.addEventListener("click", () => button.closest("dialog").close());
})();
