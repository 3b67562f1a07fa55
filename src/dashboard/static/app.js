// The two switches of the bar, and when a page that looks by itself leaves the reader alone.
(() => {
  const root = document.documentElement;
  const themes = ["system", "light", "dark"];
  const themeSwitch = document.getElementById("theme-switch");
  const liveSwitch = document.getElementById("live-switch");

  const keep = (name, value) => {
    try {
      localStorage.setItem(name, value);
    } catch {
      // it lasts as long as the page then
    }
  };
  const kept = (name) => {
    try {
      return localStorage.getItem(name);
    } catch {
      return null;
    }
  };

  const showTheme = (theme) => {
    if (theme === "system") delete root.dataset.theme;
    else root.dataset.theme = theme;
    themeSwitch.querySelector("span").textContent = theme;
  };
  showTheme(root.dataset.theme ?? "system");
  themeSwitch.addEventListener("click", () => {
    const next = themes[(themes.indexOf(root.dataset.theme ?? "system") + 1) % themes.length];
    showTheme(next);
    keep("theme", next);
  });

  let live = kept("live") !== "off";
  const showLive = () => liveSwitch.setAttribute("aria-pressed", String(live));
  showLive();
  liveSwitch.addEventListener("click", () => {
    live = !live;
    showLive();
    keep("live", live ? "on" : "off");
    if (live && document.querySelector("[sse-connect]")) location.reload(); // what it was told meanwhile is lost
  });

  // Keys of one letter can be switched off (WCAG 2.1.4), and are letters where somebody writes.
  const keysSwitch = document.getElementById("keys-switch");
  if (keysSwitch) {
    let keys = kept("keys") !== "off";
    const showKeys = () => keysSwitch.setAttribute("aria-pressed", String(keys));
    showKeys();
    keysSwitch.addEventListener("click", () => {
      keys = !keys;
      showKeys();
      keep("keys", keys ? "on" : "off");
    });
    const go = (step) => {
      const rows = [...document.querySelectorAll("[data-row]")];
      const here = rows.indexOf(document.activeElement);
      rows[here < 0 ? 0 : Math.min(rows.length - 1, Math.max(0, here + step))]?.focus();
    };
    const does = { j: () => go(1), k: () => go(-1), "/": () => document.querySelector("[data-search]")?.focus() };
    document.addEventListener("keydown", (event) => {
      const writes = event.target.matches("input, select, textarea");
      if (!keys || writes || event.ctrlKey || event.metaKey || event.altKey || !Object.hasOwn(does, event.key)) return;
      event.preventDefault();
      does[event.key]();
    });
  }

  // A form is sent once, however often its button is hit; where somebody comes back to its page, once more.
  document.addEventListener("submit", (event) => {
    if (event.target.method !== "post") return;
    if ("sent" in event.target.dataset) event.preventDefault();
    event.target.dataset.sent = "";
  });
  addEventListener("pageshow", () => {
    for (const form of document.querySelectorAll("[data-sent]")) delete form.dataset.sent;
  });

  // A line of what is said plays the sound or film beside it from there.
  document.addEventListener("click", (event) => {
    const line = event.target.closest("[data-at]");
    const player = line?.closest(".player").querySelector("video, audio");
    if (!player) return;
    player.currentTime = Number(line.dataset.at);
    player.play().catch(() => {}); // a browser may not play what nobody has touched yet
  });

  // While a pointer is down or words are marked, what would be exchanged stays; what came meanwhile comes then.
  let pressed = false;
  let later = [];
  const held = (part) => {
    const marked = getSelection();
    return pressed || (marked.rangeCount > 0 && !marked.isCollapsed && marked.containsNode(part, true));
  };
  const keepForLater = (message) => {
    const out = { lines: [], logs: ["logs", "lines"] }[message.type] ?? [message.type]; // lines are put behind others
    later = later.filter((one) => !out.includes(one.type));
    later.push({ source: message.target, type: message.type, data: message.data });
  };
  const release = () => {
    const came = later;
    later = [];
    for (const { source, type, data } of came) source.dispatchEvent(new MessageEvent(type, { data }));
  };
  const lift = () => {
    setTimeout(() => {
      pressed = false;
      release();
    }); // the click comes first
  };
  document.addEventListener("pointerdown", (event) => (pressed = event.button === 0));
  for (const end of ["pointerup", "pointercancel"]) document.addEventListener(end, lift);
  document.addEventListener("pointermove", (event) => pressed && !event.buttons && lift());
  document.addEventListener("selectionchange", () => pressed || release());

  // Who has a link or a button in hand keeps it; where somebody reads, the place in the text stays.
  const inHand = (part) => part.contains(document.activeElement) && document.activeElement.matches("a, button");
  const still = (part) => document.hidden || !live || inHand(part) || held(part);
  const readers = (part) => [...part.querySelectorAll("[tabindex='0']")];
  const places = (part) =>
    readers(part).map((one) => ({
      left: one.scrollLeft,
      top: one.scrollTop,
      atEnd: one.scrollTop + one.clientHeight >= one.scrollHeight - 2,
      focused: one === document.activeElement,
    }));
  const putBack = (part, kept) =>
    readers(part).forEach((one, number) => {
      const place = kept[number];
      if (!place) return;
      one.scrollLeft = place.left;
      one.scrollTop = place.atEnd && "follow" in one.dataset ? one.scrollHeight : place.top;
      if (place.focused) one.focus({ preventScroll: true });
    });

  let before = [];
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (still(event.target)) event.preventDefault();
  });
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (still(event.target)) event.preventDefault();
    else before = places(event.target);
  });
  document.addEventListener("htmx:afterSwap", () => {
    const part = document.getElementById("live");
    if (part) putBack(part, before);
  });
  document.addEventListener("htmx:sseBeforeMessage", (event) => {
    const keeps = live && held(event.target);
    if (keeps) keepForLater(event.detail);
    if (!live || keeps) event.preventDefault();
    else before = places(event.target);
  });
  document.addEventListener("htmx:sseMessage", (event) => {
    putBack(event.target, before);
    isFresh();
  });

  // A page that cannot look again says since when, until it can; who was logged out comes to the login.
  const stale = document.getElementById("stale");
  let fresh = new Date();
  let follows = false;
  const isFresh = () => {
    fresh = new Date();
    stale.textContent = "";
  };
  const isStale = () => {
    const since = fresh.toISOString().slice(0, 19).replace("T", " ");
    stale.textContent ||= `Not refreshed since ${since} UTC`;
  };
  const isOut = (event) => {
    event.target.close();
    if (live) location.reload();
    else isStale();
  };
  document.addEventListener("htmx:afterRequest", (event) => event.detail.successful && isFresh());
  document.addEventListener("htmx:sendError", isStale);
  document.addEventListener("htmx:responseError", isStale);
  document.addEventListener("htmx:sseOpen", (event) => {
    follows = true;
    isFresh();
    event.detail.source.addEventListener("out", isOut);
  });
  document.addEventListener("htmx:sseError", () => {
    if (follows) fresh = new Date();
    follows = false;
    isStale();
  });
})();
