/* What pages do beyond links and forms. Without this script they work, too.

data-theme-toggle        button: dark or light, kept in a cookie
data-confirm="Retry?"    form: asks first; data-confirm-button="Retry" names the button
data-select-all="job"    box that checks all boxes of that name
data-search              field that the key "/" focuses
data-live                part that htmx renews (hx-trigger="every 5s"), or that has a stream
data-stream="/…/live"    list in a live part: server-sent events, each with HTML for its beginning; data-last="17" is the
                         id of the newest entry, sent as the parameter "last"
data-live-toggle         button in a live part that stops and continues it
data-ago="2026-…"        text that says how long ago a moment was
data-live-state          text in a live part that says which
*/
"use strict";

const root = document.documentElement;
const remember = (name, value) => {
  document.cookie = `${name}=${value}; path=${root.dataset.root}/; max-age=31536000; samesite=lax`;
};

/* Time zone and theme: the server renders both, so that nothing flickers. */
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
const zoneIsKept = () => document.cookie.split("; ").includes(`pgaudit_tz=${zone}`);
if (zone && !zoneIsKept()) {
  remember("pgaudit_tz", zone);
  if (zoneIsKept() && document.querySelector("main time")) location.reload();
}

for (const button of document.querySelectorAll("[data-theme-toggle]")) {
  button.hidden = false;
  button.addEventListener("click", () => {
    const shown = root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
    root.dataset.theme = shown === "dark" ? "light" : "dark";
    remember("pgaudit_theme", root.dataset.theme);
  });
}

/* Forms */
const element = (tag, className, text = "") =>
  Object.assign(document.createElement(tag), { className, textContent: text });

const ask = (question, action) =>
  new Promise((answer) => {
    const dialog = element("dialog", "confirm");
    const text = element("p", "", question);
    const yes = element("button", "button button-danger", action);
    const no = element("button", "button", "Cancel");
    const actions = element("div", "actions");
    text.id = "confirm-question";
    dialog.setAttribute("aria-labelledby", text.id);
    actions.append(no, yes);
    dialog.append(text, actions);
    yes.addEventListener("click", () => dialog.close("yes"));
    no.addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => {
      answer(dialog.returnValue === "yes");
      dialog.remove();
    });
    document.body.append(dialog);
    dialog.showModal();
  });

document.addEventListener("submit", async (event) => {
  const { target: form, submitter } = event;
  const question = submitter?.dataset.confirm || form.dataset.confirm;
  if (!question || form.dataset.confirmed) return;
  event.preventDefault();
  const action = submitter?.dataset.confirmButton || form.dataset.confirmButton || submitter?.textContent || "Continue";
  if (!(await ask(question, action.trim()))) return;
  form.dataset.confirmed = "yes";
  form.requestSubmit(submitter);
  delete form.dataset.confirmed;
});

document.addEventListener("change", ({ target }) => {
  if (!target.dataset.selectAll) return;
  const boxes = document.querySelectorAll(`input[type=checkbox][name="${CSS.escape(target.dataset.selectAll)}"]`);
  for (const box of boxes) box.checked = target.checked;
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, select, textarea, dialog, [contenteditable]")) return;
  const search = document.querySelector("[data-search]");
  if (search) {
    event.preventDefault();
    search.focus();
    search.select();
  }
});

/* Live parts stop while the window is hidden or another one has the focus, and where the user has stopped them. */
const watching = () => !document.hidden && document.hasFocus();
const runs = (part) => watching() && !("stopped" in part.dataset);
/* What somebody has unfolded, or has the focus in, stands still. */
const isRead = (part) => part.querySelector("details[open]") !== null || part.contains(document.activeElement);
const streams = new Map();

const follow = (list) => {
  const url = new URL(list.dataset.stream, location.href);
  if (list.dataset.last) url.searchParams.set("last", list.dataset.last);
  const source = new EventSource(url);
  source.addEventListener("message", ({ data, lastEventId }) => {
    list.insertAdjacentHTML("afterbegin", data);
    list.dataset.last = lastEventId;
    while (list.children.length > 200) list.lastElementChild.remove();
  });
  streams.set(list, source);
};

const settle = () => {
  for (const part of document.querySelectorAll("[data-live]")) {
    const live = runs(part);
    for (const list of part.querySelectorAll("[data-stream]")) {
      if (live && !streams.has(list)) follow(list);
      if (!live) {
        streams.get(list)?.close();
        streams.delete(list);
      }
    }
    for (const state of part.querySelectorAll("[data-live-state]")) {
      state.classList.toggle("is-live", live);
      const text = live ? "Live" : "stopped" in part.dataset ? "Stopped" : "Paused: this window is in the background";
      if (state.textContent !== text) state.textContent = text;
    }
    for (const button of part.querySelectorAll("[data-live-toggle]")) {
      button.hidden = false;
      button.textContent = "stopped" in part.dataset ? "Continue" : "Stop";
    }
  }
};

document.addEventListener("click", ({ target }) => {
  const part = target.closest("[data-live-toggle]")?.closest("[data-live]");
  if (!part) return;
  part.toggleAttribute("data-stopped");
  settle();
});
for (const type of ["focus", "blur", "pageshow"]) addEventListener(type, settle);
document.addEventListener("visibilitychange", settle);
document.addEventListener("htmx:afterSettle", settle);
document.addEventListener("htmx:beforeRequest", (event) => {
  const part = event.target.closest("[data-live]");
  const renews = event.detail.requestConfig.verb === "get" && !event.detail.requestConfig.triggeringEvent;
  if (part && renews && (!runs(part) || isRead(event.target))) event.preventDefault();
});
settle();

/* How long ago, while the page is open; the server writes it in the same words. */
const AGES = [[86400, "d"], [3600, "h"], [60, "min"]];
const ago = (seconds) => {
  const found = AGES.find(([length]) => seconds >= length);
  return found ? `${Math.floor(seconds / found[0]).toLocaleString("en")} ${found[1]} ago` : "just now";
};
setInterval(() => {
  for (const part of document.querySelectorAll("[data-ago]")) {
    part.textContent = ago((Date.now() - Date.parse(part.dataset.ago)) / 1000);
  }
}, 20000);

/* A part that cannot be renewed says so, once. */
const tell = (text) => {
  document.querySelector(".toast")?.remove();
  const toast = element("p", "toast", text);
  toast.setAttribute("role", "status");
  document.body.append(toast);
  setTimeout(() => toast.remove(), 8000);
};
for (const type of ["htmx:responseError", "htmx:sendError"]) {
  document.addEventListener(type, () => tell("The server did not answer. What you see may be out of date."));
}
