// Keeps a page as it is in the database: asks again for its live part whenever the server says that something was written.
"use strict";
(() => {
  const SAID = {live: "live", lost: "connection lost, trying again", outage: "database not reachable"};
  const LEAST_MS = 700;
  let asked = 0, planned = 0;

  function say(state) {
    const place = document.getElementById("connection");
    if (place.dataset.state === state) return;
    place.dataset.state = state;
    document.getElementById("connection-text").textContent = SAID[state];
  }

  function refresh() {
    clearTimeout(planned);
    planned = setTimeout(() => {
      asked = Date.now();
      document.body.dispatchEvent(new Event("changed"));
      if (document.querySelector("[data-retry]")) location.reload();
    }, Math.max(0, asked + LEAST_MS - Date.now()));
  }

  function listen() {
    const events = new EventSource("/api/events");
    events.addEventListener("changed", () => { say("live"); refresh(); });
    events.addEventListener("outage", () => say("outage"));
    events.onerror = () => {
      say("lost");
      // A browser gives up for good when the answer is no stream, as while the server starts.
      if (events.readyState === EventSource.CLOSED) setTimeout(listen, 3000);
    };
    addEventListener("pagehide", () => events.close());
  }

  document.addEventListener("htmx:after:swap", () => {
    const live = document.getElementById("live");
    if (live?.dataset.title) document.title = live.dataset.title;
  });

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-copy]");
    if (!button) return;
    await navigator.clipboard.writeText(button.dataset.copy);
    button.classList.add("done");
    setTimeout(() => button.classList.remove("done"), 1500);
  });

  addEventListener("DOMContentLoaded", listen);
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
})();
