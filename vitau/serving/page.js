// The page of `vitau serve`: uploads files one after the other, and shows the state of every recording.
"use strict";

const byId = (id) => document.getElementById(id);
const WORDS = { waiting: "waits", running: "is measured", done: "done", failed: "failed" };
const LABELS = {
  "measures.csv": "measures (CSV)", "measures.xlsx": "measures (Excel)", "people.csv": "person (CSV)",
  "series.csv": "every frame (CSV)", "overlay.mp4": "video", "scores": "scores of the model",
};
const uploads = new Map(); // name → share that is uploaded

function element(tag, text, attributes = {}) {
  const made = document.createElement(tag);
  if (text) made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function card(title, state, children) {
  const made = element("article", "", { class: "card recording" });
  const heading = element("h3");
  heading.append(element("span", title), element("span", state, { class: state === WORDS.failed ? "failed small" : "soft small" }));
  made.append(heading, ...children);
  return made;
}

function bar(done, total) {
  const made = element("progress", "", { max: 1, "aria-label": "progress" });
  if (total) made.value = done / total;
  return made;
}

function describe(recording) {
  const here = `/recordings/${recording.number}`;
  const actions = element("div", "", { class: "actions" });
  if (recording.report) actions.append(element("a", "Open the report", { class: "main", href: recording.report }));
  for (const [name, address] of Object.entries(recording.files)) actions.append(element("a", LABELS[name] ?? name, { href: address }));
  const remove = element("button", "Delete", { type: "button" });
  remove.addEventListener("click", async () => { await fetch(here, { method: "DELETE" }); await refresh(); });
  actions.append(remove);
  const children = [actions];
  if (recording.state === "running" || recording.state === "waiting") {
    const frames = recording.total ? `${recording.done} of ${recording.total} frames` : "";
    children.unshift(bar(recording.done, recording.total), element("p", frames, { class: "small" }));
  }
  if (recording.reason) children.unshift(element("p", recording.reason, { class: "failed" }));
  return card(recording.name, WORDS[recording.state], children);
}

let shown = "";
async function refresh() {
  const reply = await fetch("/recordings");
  if (!reply.ok) return;
  const recordings = await reply.json();
  const now = JSON.stringify([recordings, [...uploads]]);
  if (now !== shown) { // a page that is redrawn without need loses the focus
    shown = now;
    const cards = [...uploads].map(([name, share]) => card(name, "is uploaded", [bar(share, 1)]));
    byId("recordings").replaceChildren(...cards, ...recordings.reverse().map(describe));
  }
}

function upload(file) { // fetch() tells nothing of an upload's progress
  return new Promise((resolve) => {
    const query = new URLSearchParams({ name: file.name, mirrored: byId("mirrored").checked, video: byId("video").checked });
    const request = new XMLHttpRequest();
    request.open("POST", `/recordings?${query}`);
    request.upload.addEventListener("progress", (event) => { uploads.set(file.name, event.loaded / event.total); refresh(); });
    request.addEventListener("loadend", () => {
      uploads.delete(file.name);
      if (request.status !== 202) byId("message").textContent = `${file.name}: ${reason(request)}`;
      resolve();
    });
    uploads.set(file.name, 0);
    request.send(file);
  });
}

function reason(request) {
  try { return JSON.parse(request.responseText).detail; } catch { return "the server does not answer"; }
}

async function uploadAll(files) {
  byId("message").textContent = "";
  for (const file of files) await upload(file);
  await refresh();
}

const drop = byId("drop");
byId("files").addEventListener("change", (event) => { uploadAll([...event.target.files]); event.target.value = ""; });
for (const name of ["dragenter", "dragover"]) drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
for (const name of ["dragleave", "drop"]) drop.addEventListener(name, () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => { event.preventDefault(); uploadAll([...event.dataTransfer.files]); });
setInterval(refresh, 1000);
refresh();
