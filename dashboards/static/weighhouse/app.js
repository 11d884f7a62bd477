/* What every page does beyond plain links and forms: theme switch, keyboard, dialogs, search, copying, messages. */
(function () {
  "use strict";
  const $ = (selector, within = document) => within.querySelector(selector);
  const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];

  /* Theme: system -> light -> dark -> system. Charts listen to "themechange". */
  function showTheme() {
    const theme = document.documentElement.dataset.theme || "system";
    $$("[data-theme-switch]").forEach((button) => {
      button.textContent = { system: "Theme: system", light: "Theme: light", dark: "Theme: dark" }[theme];
    });
  }
  function nextTheme() {
    const root = document.documentElement;
    const next = { undefined: "light", light: "dark", dark: undefined }[root.dataset.theme];
    if (next) root.dataset.theme = next; else delete root.dataset.theme;
    try {
      if (next) localStorage.setItem("theme", next); else localStorage.removeItem("theme");
    } catch (error) { /* the choice then lasts as long as the page */ }
    showTheme();
    document.dispatchEvent(new CustomEvent("themechange"));
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => document.dispatchEvent(new CustomEvent("themechange")));

  /* Clicks, by data attribute. */
  document.addEventListener("click", (event) => {
    const at = (selector) => event.target.closest(selector);
    let element;
    if (at("[data-theme-switch]")) return nextTheme();
    if ((element = at("[data-dialog]"))) { $("#" + CSS.escape(element.dataset.dialog))?.showModal(); return; }
    if ((element = at("[data-close]"))) { element.closest("dialog, .toast")?.[element.closest("dialog") ? "close" : "remove"](); return; }
    if ((element = at("[data-search]"))) { event.preventDefault(); return openSearch(); }
    if ((element = at("[data-more]"))) return toggleMenu(element);
    if ((element = at("[data-copy]"))) return copy(element);
    if (event.target instanceof HTMLDialogElement) event.target.close();
    $$("details.pick[open]").forEach((pick) => { if (!pick.contains(event.target)) pick.open = false; });
  });

  function toggleMenu(button) {
    const side = button.closest(".side");
    const open = side.toggleAttribute("data-open");
    button.setAttribute("aria-expanded", String(open));
    button.firstElementChild.textContent = open ? "Less" : "More";
  }

  async function copy(button) {
    const source = $("#" + CSS.escape(button.dataset.copy));
    const text = source.value ?? source.textContent;
    try { await navigator.clipboard.writeText(text); } catch (error) { selectAndCopy(source); }
    const label = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = label; }, 1600);
  }
  function selectAndCopy(source) {
    const range = document.createRange();
    range.selectNodeContents(source);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    document.execCommand("copy");
  }

  /* Forms that ask first: <form data-confirm="id of a dialog">. The dialog's [data-yes] button sends the form. */
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.dataset.confirm && !form.dataset.confirmed) {
      event.preventDefault();
      const dialog = $("#" + CSS.escape(form.dataset.confirm));
      dialog.showModal();
      const yes = $("[data-yes]", dialog);
      yes.onclick = () => { form.dataset.confirmed = "1"; dialog.close(); form.requestSubmit(event.submitter || undefined); };
      return;
    }
    if (form.method === "post" && !event.defaultPrevented && !form.hasAttribute("hx-post")) onlyOnce(form);
  });
  function onlyOnce(form) {
    setTimeout(() => $$("button[type=submit], button:not([type])", form).forEach((button) => { button.disabled = true; }));
  }
  addEventListener("pageshow", () => $$("form button[disabled]").forEach((button) => { if (!button.hasAttribute("data-off")) button.disabled = false; }));

  /* A search takes along what was ticked and not yet sent: the filters' own form would race it, and one of both would be lost.
     They are sent by themselves when the search is left without one. */
  document.addEventListener("submit", (event) => {
    const find = event.target;
    const picks = $$("details.pick[data-changed]");
    if (!find.matches?.(".table-search") || !picks.length) return;
    event.preventDefault();
    event.stopPropagation();
    const wanted = new URLSearchParams(new FormData(picks[0].closest("form")));
    new FormData(find).forEach((value, key) => { if (!wanted.has(key)) wanted.set(key, value); });
    const input = $("input[type=search]", find);
    wanted.set(input.name, input.value);
    location.assign(`${find.getAttribute("action")}?${new URLSearchParams([...wanted].filter(([, value]) => value !== ""))}`);
  }, true);
  document.addEventListener("focusout", (event) => {
    const find = event.target.closest?.(".table-search");
    const waiting = $("details.pick[data-changed]:not([open])");
    if (find && waiting && !find.contains(event.relatedTarget) && !event.relatedTarget?.closest("details.pick")) waiting.closest("form").requestSubmit();
  });

  /* Fields that apply to some choices only: <div data-with="scope_kind" data-values="team session">. */
  const showWhatApplies = () => $$("[data-with]").forEach((part) => {
    const chosen = part.closest("form")?.elements[part.dataset.with]?.value;
    part.hidden = chosen !== undefined && !part.dataset.values.split(" ").includes(chosen);
  });
  /* A choice that one kind of thing cannot do without, and that only narrows the others: required and called so where it is needed. */
  const askWhatIsNeeded = () => $$("select[data-needed-with]").forEach((select) => {
    const nothing = select.options[0];
    nothing.dataset.needed ??= nothing.text;
    select.required = select.form?.elements[select.dataset.neededWith]?.value === select.dataset.neededValue;
    nothing.text = select.required ? nothing.dataset.needed : select.dataset.otherwise;
  });
  /* The names that a field offers are those of the kind chosen beside it: <select data-names="key"> and <datalist id="names-team">. */
  const offerNames = () => $$("select[data-names]").forEach((select) => {
    select.form?.elements[select.dataset.names]?.setAttribute("list", `names-${select.value}`);
  });
  document.addEventListener("change", offerNames);
  addEventListener("pageshow", offerNames);
  /* A long list of people is narrowed by typing; who is chosen stays in sight. */
  $$("select[multiple][data-search]").forEach((select) => {
    const search = Object.assign(document.createElement("input"), { type: "search", placeholder: select.dataset.search, autocomplete: "off" });
    search.setAttribute("aria-label", `${select.dataset.search}: ${select.labels[0]?.textContent.trim() ?? ""}`);
    search.addEventListener("input", () => [...select.options].forEach((option) => {
      option.hidden = !option.selected && !option.text.toLowerCase().includes(search.value.trim().toLowerCase());
    }));
    search.addEventListener("keydown", (event) => { if (event.key === "Enter") event.preventDefault(); });
    select.before(search);
  });
  document.addEventListener("change", showWhatApplies);
  document.addEventListener("change", askWhatIsNeeded);
  addEventListener("pageshow", askWhatIsNeeded);
  addEventListener("pageshow", showWhatApplies);

  /* Filters send themselves when their panel is closed after a change. Empty fields stay out of the address. */
  document.addEventListener("toggle", (event) => {
    const pick = event.target;
    if (!pick.matches?.("details.pick")) return;
    if (pick.open) $("input, a", pick)?.focus({ preventScroll: true });
    else if (pick.dataset.changed && !document.activeElement?.closest(".table-search")) $("form", pick)?.requestSubmit() ?? pick.closest("form")?.requestSubmit();
  }, true);
  document.addEventListener("change", (event) => {
    const pick = event.target.closest("details.pick[data-sends]");
    if (pick) pick.dataset.changed = "1";
    const select = event.target.closest("[data-sends-form]");
    if (select) select.form.requestSubmit();
  });
  document.addEventListener("formdata", (event) => {
    if (event.target.method !== "get") return;
    [...event.formData.keys()].forEach((key) => { if (event.formData.getAll(key).every((value) => value === "")) event.formData.delete(key); });
  });

  /* Keyboard: / searches, g + letter goes, Esc closes. */
  let waitsForLetter = 0;
  /* A field of a dialog that has just closed keeps the focus until the page is drawn again. */
  const isTyping = (target) => target.closest("input, textarea, select, [contenteditable]")?.checkVisibility() ?? false;
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      $$("details.pick[open]").forEach((pick) => { pick.open = false; $("summary", pick).focus(); });
      const side = $(".side[data-open]");
      if (side) toggleMenu($("[data-more]", side));
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target) || $("dialog[open]")) return;
    if (event.key === "/") { event.preventDefault(); return openSearch(); }
    if (event.key === "?") { event.preventDefault(); return $("#keys")?.showModal(); }
    if (event.key === "g") { waitsForLetter = Date.now(); return; }
    if (Date.now() - waitsForLetter < 1500) {
      waitsForLetter = 0;
      const link = $(`.side nav a[data-key="${CSS.escape(event.key)}"]`);
      if (link) { event.preventDefault(); location.href = link.href; }
    }
  });

  /* Search palette. */
  function openSearch() {
    const dialog = $("#search");
    if (!dialog) return;
    dialog.showModal();
    const input = $("input", dialog);
    input.select();
    input.dispatchEvent(new Event("search"));
  }
  $("#search")?.addEventListener("keydown", (event) => {
    /* A search field would only empty itself at the first Escape. */
    if (event.key === "Escape") { event.preventDefault(); event.currentTarget.close(); return; }
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp" && event.key !== "Enter") return;
    const links = $$("#search-results a");
    const now = links.indexOf(document.activeElement);
    if (event.key === "Enter") { if (now < 0 && links[0]) { event.preventDefault(); links[0].click(); } return; }
    event.preventDefault();
    const next = now + (event.key === "ArrowDown" ? 1 : -1);
    (next < 0 ? $("#search input") : links[Math.min(next, links.length - 1)])?.focus();
  });

  /* Messages leave by themselves, except errors; hovering keeps them. */
  function tidyToasts() {
    $$(".toast:not(.error):not([data-timed])").forEach((toast) => {
      toast.dataset.timed = "1";
      setTimeout(function leave() { toast.matches(":hover, :focus-within") ? setTimeout(leave, 2000) : toast.remove(); }, 7000);
    });
  }
  document.addEventListener("htmx:afterSwap", tidyToasts);
  /* Figures that are not renewed look like those that are: where the server does not answer the page says so, until it does. */
  function unanswered(event) {
    if ($("#unanswered") || (event.detail.xhr?.status || 503) < 500) return;
    const note = document.createElement("div");
    const since = new Date().toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    note.id = "unanswered";
    note.className = "toast error";
    note.textContent = event.target.hasAttribute("data-live") ? `The server does not answer: what you see is as it was at ${since}. It is asked again by itself.` : "The server does not answer. Try again in a moment.";
    $("#toasts")?.append(note);
  }
  for (const fault of ["htmx:responseError", "htmx:sendError", "htmx:timeout"]) document.addEventListener(fault, unanswered);
  document.addEventListener("htmx:afterRequest", (event) => { if (event.detail.successful) $("#unanswered")?.remove(); });
  document.addEventListener("htmx:historyRestore", () => location.reload());
  /* A live fragment must not take the focus or an open panel away from the person using it. */
  document.addEventListener("htmx:beforeRequest", (event) => {
    const element = event.target;
    if (element.hasAttribute("data-live") && (document.hidden || $("details[open].pick, dialog[open]", element) || element.contains(document.activeElement) && isTyping(document.activeElement))) event.preventDefault();
  });
  /* A fragment that refreshes its own page asks for the address as it is now: a table in it may have been sorted meanwhile. */
  document.addEventListener("htmx:configRequest", (event) => {
    const element = event.target;
    const asked = new URL(event.detail.path, location.href);
    if (element.hasAttribute("data-live") && element.getAttribute("hx-select") === `#${element.id}` && asked.pathname === location.pathname) event.detail.path = location.pathname + location.search;
  });
  /* What has been renewed keeps the focus on the same link and its tables where they were scrolled to. */
  const linkKey = (element) => `${element.tagName} ${element.getAttribute("href") || element.id} ${element.textContent.trim().slice(0, 60)}`;
  document.addEventListener("htmx:oobBeforeSwap", (event) => keepPlace(event.detail.target));
  document.addEventListener("htmx:beforeSwap", (event) => keepPlace(event.detail.target));
  function keepPlace(part) {
    if (!part?.id || !(part.contains(document.activeElement) || $(".table-scroll", part))) return;
    const focused = part.contains(document.activeElement) ? document.activeElement : null;
    const key = focused && linkKey(focused);
    const scrolled = $$(".table-scroll", part).map((element) => element.scrollLeft);
    document.addEventListener("htmx:afterSettle", () => {
      const renewed = document.getElementById(part.id);
      if (!renewed) return;
      $$(".table-scroll", renewed).forEach((element, index) => { element.scrollLeft = scrolled[index] || 0; });
      if (key && document.activeElement === document.body) $$("a, button, summary, [tabindex]", renewed).find((element) => linkKey(element) === key)?.focus({ preventScroll: true });
    }, { once: true });
  }
  document.addEventListener("htmx:beforeSwap", (event) => {
    /* The session ended or the right was withdrawn: show the whole page that says so. */
    if (event.detail.xhr.status === 403 || event.detail.xhr.responseURL.includes("/sign-in")) { event.detail.shouldSwap = false; location.reload(); }
    if (event.detail.xhr.status === 422) event.detail.shouldSwap = true;
  });

  /* The tab one is on is in sight, also where the row of tabs is wider than the screen. */
  $$(".tabs [aria-current]").forEach((tab) => { const row = tab.closest(".tabs"); row.scrollLeft = tab.offsetLeft - (row.clientWidth - tab.offsetWidth) / 2; });
  /* A dialog that the server answers open (its form was not in order, or a preview was asked for) is in front, as when it was opened. */
  $$("dialog[open]").forEach((dialog) => { dialog.removeAttribute("open"); dialog.showModal(); });
  showTheme();
  tidyToasts();
  $$("[data-autofocus]").forEach((element) => element.focus());
})();
