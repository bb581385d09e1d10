// Uploads files that are dropped anywhere on the page or chosen, three at a time, and shows how far each is.
"use strict";
(() => {
  const AT_ONCE = 3;
  const waiting = [];
  let running = 0;
  const panel = () => document.querySelector("[data-upload]");
  const say = (text) => { panel().querySelector("[data-upload-says]").textContent = text; };

  function size(bytes) {
    return bytes < 1e4 ? `${bytes} B` : bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
  }

  function element(name, text, className) {
    const made = document.createElement(name);
    if (text) made.textContent = text;
    if (className) made.className = className;
    return made;
  }

  function line(file) {
    const item = element("li"), name = element("bdi", file.name, "name"), bar = element("progress");
    const told = element("span", `waiting, ${size(file.size)}`, "told");
    bar.max = Math.max(file.size, 1);
    bar.value = 0;
    bar.setAttribute("aria-label", `Upload of ${file.name}`);
    item.append(name, bar, told);
    panel().querySelector("[data-upload-list]").prepend(item);
    return {item, bar, told};
  }

  function take(files) {
    const tenant = panel().querySelector("[name=tenant]");
    if (!files.length) return;
    if (tenant.type !== "hidden" && !tenant.reportValidity()) {
      say("Say whose files these are, then drop them again.");
      tenant.focus();
      return;
    }
    for (const file of files) waiting.push({file, tenant: tenant.value, ...line(file)});
    say(files.length === 1 ? "1 file taken" : `${files.length} files taken`);
    next();
  }

  function next() {
    while (running < AT_ONCE && waiting.length) send(waiting.shift());
  }

  function send(one) {
    const request = new XMLHttpRequest();
    running += 1;
    one.item.dataset.state = "sending";
    request.upload.onprogress = (event) => {
      one.bar.value = event.loaded;
      one.told.textContent = `${Math.floor((100 * event.loaded) / Math.max(event.total, 1))} % of ${size(one.file.size)}`;
    };
    request.onload = () => end(one, request.status === 200, answer(request));
    request.onerror = () => end(one, false, {message: "the connection broke; nothing was stored"});
    request.open("PUT", `/api/uploads/${encodeURIComponent(one.tenant)}/${encodeURIComponent(one.file.name)}`);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.send(one.file);
  }

  function answer(request) {
    try { return JSON.parse(request.responseText); } catch { return {message: `the server answered ${request.status}`}; }
  }

  function end(one, good, told) {
    running -= 1;
    one.item.dataset.state = good ? "stored" : "failed";
    one.bar.value = good ? one.bar.max : 0;
    one.told.textContent = good ? `stored, ${size(one.file.size)} ` : told.message;
    if (good) {
      const link = element("a", `${told.tenant} ${told.business_date}`);
      link.href = `/sets/${encodeURIComponent(told.tenant)}/${told.business_date}`;
      one.told.append(link);
    } else {
      const again = element("button", "Try again");
      again.type = "button";
      again.onclick = () => { again.remove(); waiting.push(one); next(); };
      one.told.append(" ", again);
    }
    say(good ? `${one.file.name} is stored` : `${one.file.name} was not stored: ${told.message}`);
    next();
  }

  async function filesOf(transfer) {
    // A folder's files are taken too, whatever its depth.
    const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    if (!entries.some((entry) => entry.isDirectory)) return [...transfer.files];
    return (await Promise.all(entries.map(below))).flat();
  }

  async function below(entry) {
    if (entry.isFile) return [await new Promise((good, bad) => entry.file(good, bad))];
    const reader = entry.createReader(), found = [];
    for (;;) {
      const some = await new Promise((good, bad) => reader.readEntries(good, bad));
      if (!some.length) return found;
      found.push(...(await Promise.all(some.map(below))).flat());
    }
  }

  const holdsFiles = (event) => panel() && event.dataTransfer?.types.includes("Files");
  addEventListener("dragover", (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    document.body.classList.add("dragging");
  });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) document.body.classList.remove("dragging"); });
  addEventListener("drop", async (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    document.body.classList.remove("dragging");
    take(await filesOf(event.dataTransfer));
  });
  addEventListener("change", (event) => {
    if (event.target.matches("[data-upload] input[type=file]")) {
      take([...event.target.files]);
      event.target.value = "";
    }
  });
  addEventListener("submit", (event) => { if (event.target.closest("[data-upload]")) event.preventDefault(); });
  addEventListener("beforeunload", (event) => { if (running || waiting.length) event.preventDefault(); });
})();
