// Asks each second what has changed on this page, and changes that. Without it, the page is as it was when it came.
"use strict";
const state = document.getElementById("state");
let version = document.documentElement.dataset.version;

const say = (text) => {
  if (state.textContent !== text) state.textContent = text;
};

const parsed = (html) => {
  const template = document.createElement("template");
  template.innerHTML = html;
  return template.content;
};

// Where somebody is with the keyboard, they stay.
const keepingFocus = (within, change) => {
  const focus = within.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  change();
  if (focus && !within.contains(document.activeElement)) {
    [...within.querySelectorAll("a")].find((link) => link.getAttribute("href") === focus)?.focus();
  }
};

const changeList = (list, { order, rows }) => {
  const there = new Map([...list.children].map((row) => [row.dataset.key, row]));
  for (const [key, html] of Object.entries(rows)) {
    const fresh = parsed(html).firstElementChild;
    there.get(key)?.replaceWith(fresh);
    there.set(key, fresh);
  }
  if (order) list.replaceChildren(...order.map((key) => there.get(key)).filter(Boolean));
};

const change = ({ pieces = {}, lists = {} }) => {
  for (const [id, html] of Object.entries(pieces)) {
    const place = document.getElementById(id);
    if (place) keepingFocus(place, () => place.replaceChildren(parsed(html)));
  }
  for (const [id, changes] of Object.entries(lists)) {
    const list = document.getElementById(id);
    if (list) keepingFocus(list, () => changeList(list, changes));
  }
};

const refresh = async () => {
  if (document.hidden) return;
  const place = new URL(location.href);
  place.hash = "";
  place.searchParams.set("have", version);
  try {
    const answer = await fetch(place, { cache: "no-store", signal: AbortSignal.timeout(5000) });
    if (answer.status === 404) return say("Nobody shares this here now.");
    if (!answer.ok) return say("The conductor refuses.");
    if (answer.status === 200) {
      const changes = await answer.json();
      change(changes);
      version = changes.version;
    }
    say("");
  } catch {
    say("The conductor does not answer: trying again.");
  }
};

const again = async () => {
  await refresh();
  setTimeout(again, 1000);
};

// Browsers give pages without TLS no clipboard: there it is copied from a field.
const copyText = async (text) => {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const field = document.createElement("textarea");
  field.value = text;
  document.body.append(field);
  field.select();
  const copied = document.execCommand("copy");
  field.remove();
  if (!copied) throw new Error("not copied");
};

for (const button of document.querySelectorAll("[data-copy]")) {
  const from = document.getElementById(button.dataset.copy);
  button.hidden = !from;
  button.addEventListener("click", async () => {
    try {
      await copyText(from.value ?? from.getAttribute("href") ?? from.textContent);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Not copied";
    }
    setTimeout(() => (button.textContent = "Copy"), 2000);
    button.focus();
  });
}

document.getElementById("line")?.addEventListener("focus", (event) => event.target.select());
if (version) {
  document.addEventListener("visibilitychange", refresh);
  setTimeout(again, 1000);
}
