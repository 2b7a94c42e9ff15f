// Takes this page again each second and swaps what changed in it. Without it, the page is as it was when it came.
"use strict";
const state = document.getElementById("state");

// Where somebody is with the keyboard, they stay.
const swap = (old, fresh) => {
  const focus = old.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  old.replaceChildren(...fresh.childNodes);
  if (focus) {
    [...old.querySelectorAll("a")].find((link) => link.getAttribute("href") === focus)?.focus();
  }
};

const say = (text) => {
  if (state.textContent !== text) state.textContent = text;
};

const refresh = async () => {
  if (document.hidden) return;
  try {
    const answer = await fetch(location.href, { cache: "no-store", signal: AbortSignal.timeout(5000) });
    if (!answer.ok) return say(answer.status === 404 ? "Nobody shares it any more." : "The conductor refuses.");
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const old of document.querySelectorAll("[data-live]")) {
      const fresh = page.getElementById(old.id);
      if (fresh && fresh.innerHTML !== old.innerHTML) swap(old, fresh);
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

document.getElementById("line")?.addEventListener("focus", (event) => event.target.select());
document.addEventListener("visibilitychange", refresh);
setTimeout(again, 1000);
