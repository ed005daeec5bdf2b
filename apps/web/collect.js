"use strict";
const $ = (name) => document.getElementById(name);
const percent = (share) => `${(100 * share).toFixed(1)} %`;
const ENDED = "The program has ended: run make collect again. What you did before is kept.";
let state = {}, tab = "pictures", annotator = "", seen = [], shown = 0;

// --- asking the program

async function ask(method, path, query = {}, body = null) {
  const address = `${path}?${new URLSearchParams(query)}`;
  if (method === "POST") clear(); // what is done anew; what only loads leaves the fault alone
  let answer;
  try {
    answer = await fetch(address, { method, body });
  } catch {
    if (body && !await readable(body)) return fault(`${body.name} was changed or removed: choose it again.`);
    return fault(ENDED);
  }
  if (!(answer.headers.get("Content-Type") || "").includes("ndjson")) {
    const found = await answer.json();
    return found.error ? fault(found.error) : found;
  }
  return answer;
}

function readable(file) {
  return file.slice(0, 1).arrayBuffer().then(() => true, () => false);
}

// Calls `each` for every line of a long answer, and returns the last one that is no fault;
// `failed` says that a fault came after it.
async function lines(answer, each) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "", last = null;
  for (;;) {
    const { value, done, cut } = await reader.read().catch(() => ({ cut: true }));
    if (cut) { fault(ENDED); return { ...last, failed: true }; }
    text += value || "";
    const parts = text.split("\n");
    text = parts.pop();
    for (const part of parts) {
      const found = JSON.parse(part);
      if (found.error) { fault(found.error); return { ...last, failed: true }; }
      each(last = found);
    }
    if (done) return last;
  }
}

function fault(sentence) {
  $("fault").textContent = sentence;
  $("fault").hidden = false;
  return null;
}
function clear() { $("fault").hidden = true; }

// An element with attributes and children; texts are texts, never HTML.
function h(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}
function picture(name, size = "thumb") {
  return h("img", { src: `/picture?${new URLSearchParams({ picture: name, size })}`, alt: "", loading: "lazy" });
}
function table(caption, head, rows) {
  return h("div", { class: "table", tabindex: "0", role: "region", "aria-label": caption }, h("table", {}, h("caption", {}, caption),
    h("thead", {}, h("tr", {}, ...head.map((cell) => h("th", { scope: "col" }, cell)))),
    h("tbody", {}, ...rows.map((row) => h("tr", {}, ...row.map((cell) => h("td", {}, `${cell}`)))))));
}

// --- the tabs

function open(name) {
  tab = name;
  for (const section of document.querySelectorAll("main > section")) section.hidden = section.id !== name;
  for (const button of document.querySelectorAll("#tabs button")) {
    if (button.dataset.tab === name) button.setAttribute("aria-current", "step");
    else button.removeAttribute("aria-current");
  }
  if (name !== "pictures") stopCamera();
}
let written = ""; // what stands in the field of the classes, unless somebody types
async function refresh() {
  const found = await ask("GET", "/state");
  if (!found) return;
  state = found;
  $("name").textContent = `· ${state.name}, ${some(state.pictures, "picture")}`;
  if ($("classes").value === written) $("classes").value = written = state.classes.join(", ");
  $("answers").replaceChildren(...state.classes.map((name, i) => // as the keys are
    h("button", { onclick: () => say(name) }, name, h("kbd", {}, `${i + 1}`))));
  for (const one of document.querySelectorAll("#answers button")) one.disabled = !seen.length || $("shown").hidden;
  if (!$("consent").options.length) {
    $("consent").append(h("option", { value: "" }, "choose"), ...state.consent.map((one) => h("option", { value: one }, one)));
    $("grouping").append(...Object.entries(state.groupings).map(([key, text]) => h("option", { value: key }, text)));
  }
}

// --- collecting

function session() {
  const given = Object.fromEntries(["source", "consent", "grouping", "group", "every"].map((name) => [name, $(name).value]));
  if ($("faces").checked) given.faces = "1";
  return given;
}
async function add(file, name, given) {
  const answer = await ask("POST", "/add", { ...given, file: name }, file);
  return answer ? lines(answer, (part) => { $("adding").textContent = `${name}: ${part.added} added`; }) : { failed: true };
}
async function addAll(files, known = {}) {
  let added = 0;
  const reasons = {}, given = { ...session(), ...known };
  clear();
  const stays = [...files].filter((file) => !file.name.startsWith("."));
  for (const [i, file] of stays.entries()) {
    const found = await add(file, file.webkitRelativePath || file.name, given) ?? {};
    added += found.added ?? 0;
    for (const [reason, count] of Object.entries(found.reasons ?? {})) {
      reasons[reason] ||= { count: 0, names: [] };
      reasons[reason].count += count;
      reasons[reason].names.push(file.name);
    }
    if (found.failed) break;
    $("adding").textContent = `${i + 1} of ${some(stays.length, "file")}, ${some(added, "picture")} added`;
  }
  const why = Object.entries(reasons).map(([reason, { count, names }]) =>
    `${count} left out (${names.slice(0, 3).join(", ")}${names.length > 3 ? ", …" : ""}): ${reason}`);
  $("adding").textContent = [`${some(added, "picture")} added`, ...why].join("; ") + ".";
  await refresh();
  await grid(true);
}
let asking = 0; // the number of the newest request: what an older one answers is dropped
async function grid(again = false) {
  if (again) { shown = 0; $("grid").replaceChildren(); }
  const mine = ++asking;
  const found = await ask("GET", "/pictures", { start: shown });
  if (!found || mine !== asking) return;
  for (const [i, name] of found.pictures.entries()) {
    const label = `picture ${shown + i + 1}: draw a square`;
    $("grid").append(h("button", { "data-picture": name, "aria-label": label, onclick: () => crop(name) }, picture(name)));
  }
  shown += found.pictures.length;
  $("more").hidden = shown >= found.all;
}
$("files").onchange = $("folder").onchange = async (event) => {
  await addAll(event.target.files);
  event.target.value = "";
};
const typing = (event) => event.target.closest?.("input") && !event.dataTransfer.types.includes("Files"); // a text is dropped
document.addEventListener("dragover", (event) => { if (!typing(event)) event.preventDefault(); });
document.addEventListener("drop", (event) => {
  if (typing(event)) return;
  event.preventDefault();
  if (tab !== "pictures") return;
  const dropped = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry());
  if (dropped.some((entry) => entry && entry.isDirectory)) fault("A folder cannot be dropped here: use “Add a folder”.");
  else if (event.dataTransfer.files.length) addAll(event.dataTransfer.files);
});
$("more").onclick = () => grid();
$("classes-form").onsubmit = async (event) => {
  event.preventDefault();
  const typed = $("classes").value;
  if (!await ask("POST", "/classes", { names: typed })) return;
  written = typed;
  if ($("classes").value === typed) $("kept").textContent = "The classes are kept.";
  await refresh();
};

$("classes").oninput = () => { $("kept").textContent = ""; };

let stream = null, wanted = 0; // the number of the newest wish: to use the camera, or to stop it
$("camera-start").onclick = async () => {
  const mine = ++wanted;
  $("camera-start").hidden = true;
  let opened;
  try {
    opened = await navigator.mediaDevices.getUserMedia({ video: { width: 1280 } });
  } catch {
    if (mine !== wanted) return;
    stopCamera();
    return fault("The camera cannot be used: allow it in the browser, and see that no other program has it.");
  }
  if (mine !== wanted) return opened.getTracks().forEach((track) => track.stop());
  clear();
  stream = opened;
  stream.getVideoTracks()[0].onended = () => {
    if (stream !== opened) return;
    stopCamera();
    fault("The camera was disconnected: connect it, and use it again.");
  };
  $("video").srcObject = stream;
  await $("video").play().catch(() => {}); // it was stopped meanwhile
  $("camera").hidden = mine !== wanted;
  if (mine === wanted && document.activeElement === document.body) $("snap").focus();
};
function stopCamera() {
  wanted += 1;
  if (stream) stream.getTracks().forEach((track) => track.stop());
  stream = $("video").srcObject = null;
  $("camera").hidden = true;
  $("camera-start").hidden = false;
}
$("camera-stop").onclick = () => { stopCamera(); $("camera-start").focus(); };
$("snap").onclick = async () => {
  const video = $("video"), canvas = h("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  canvas.getContext("2d").drawImage(video, 0, 0);
  const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.95));
  const time = new Date().toISOString().replace(/[:.]/g, "-");
  await addAll([new File([blob], `camera-${time}.jpg`)], { camera: "1" });
};

// --- a square, drawn by hand

let cropping = null, start = null, square = null, keeping = false;
function crop(name) {
  [cropping, start, square] = [name, null, null];
  $("square").hidden = true;
  $("whole").style.visibility = "hidden"; // the picture before it, until this one is here
  $("crop-fault").textContent = "";
  $("whole").onload = () => { // as large as the window allows, small pictures too
    $("whole").style.visibility = "";
    const { naturalWidth: width, naturalHeight: height } = $("whole");
    const scale = Math.min(0.85 * Math.min(innerWidth, 900) / width, 0.6 * innerHeight / height);
    Object.assign($("whole").style, { width: `${scale * width}px`, height: `${scale * height}px` });
  };
  $("whole").onerror = () => { $("crop-fault").textContent = "The picture cannot be shown: it is damaged, or the program has ended."; };
  $("whole").src = `/picture?${new URLSearchParams({ picture: name, whole: "1" })}`;
  if (!$("cropper").open) $("cropper").showModal();
}
function place(event) {
  const box = $("whole").getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top, box.width, box.height];
}
$("canvas").onpointerdown = (event) => {
  if ($("whole").style.visibility) return;
  start = place(event);
  $("canvas").setPointerCapture(event.pointerId);
};
$("canvas").onpointermove = (event) => {
  if (!start) return;
  const [x, y, width, height] = place(event);
  const [right, down] = [x >= start[0], y >= start[1]];
  const room = Math.min(right ? width - start[0] : start[0], down ? height - start[1] : start[1]);
  const side = Math.min(Math.max(Math.abs(x - start[0]), Math.abs(y - start[1])), room);
  const [left, top] = [right ? start[0] : start[0] - side, down ? start[1] : start[1] - side];
  frame(left, top, side, width);
};
// A square in pixels of the screen; one of a few pixels is a click.
function frame(left, top, side, width) {
  square = side < 4 ? null : { left: left / width, top: top / width, side: side / width };
  Object.assign($("square").style, { left: `${left}px`, top: `${top}px`, width: `${side}px`, height: `${side}px` });
  $("square").hidden = !square;
}
$("canvas").onpointerup = () => { start = null; };
$("canvas").onmousedown = (event) => event.preventDefault(); // only Tab leads the keys to the square
$("canvas").onkeydown = (event) => { // arrows move the square, + and - change its size
  const move = { ArrowLeft: [-8, 0], ArrowRight: [8, 0], ArrowUp: [0, -8], ArrowDown: [0, 8] }[event.key];
  const grow = { "+": 16, "-": -16 }[event.key] || 0;
  if (!move && !grow || $("whole").style.visibility) return;
  event.preventDefault();
  event.stopPropagation();
  const { width, height } = $("whole").getBoundingClientRect(), least = Math.min(width, height);
  const old = square || { left: (1 - least / width / 2) / 2, top: (height - least / 2) / width / 2, side: least / width / 2 };
  const side = Math.min(least, Math.max(16, old.side * width + grow));
  const within = (value, room) => Math.max(0, Math.min(value, room - side));
  const [dx, dy] = square && move || [0, 0];
  frame(within(old.left * width + dx - grow / 2, width), within(old.top * width + dy - grow / 2, height), side, width);
};
async function keep(given) {
  if (keeping) return;
  if (!given) { $("crop-fault").textContent = "Draw a square first."; return; }
  const name = cropping;
  keeping = true;
  const kept = await ask("POST", "/crop", { picture: name, ...given });
  keeping = false;
  if (!kept) { $("crop-fault").textContent = $("fault").textContent; return; }
  const button = document.querySelector(`[data-picture="${name}"]`);
  if (button) {
    const fresh = picture(name);
    fresh.src += `&again=${Date.now()}`;
    button.replaceChildren(fresh);
  }
  forget(name);
  if (seen[0] === name) await present(name);
  if ($("cropper").open) nextCrop();
}
async function nextCrop() {
  if (keeping) return;
  const listed = () => [...document.querySelectorAll("#grid button")].map((button) => button.dataset.picture);
  if (listed().at(-1) === cropping && !$("more").hidden) {
    keeping = true;
    await grid();
    keeping = false;
    if (!$("cropper").open) return;
  }
  const all = listed(), next = all[all.indexOf(cropping) + 1];
  if (next) crop(next);
  else $("cropper").close();
}
$("crop-keep").onclick = () => keep(square);
$("crop-whole").onclick = () => keep({ left: 0, top: 0, side: 0 });
$("crop-next").onclick = nextCrop;
$("crop-close").onclick = () => $("cropper").close();

// --- labelling

const ahead = new Map(); // pictures that are loaded before they are shown
function address(name) {
  if (!ahead.has(name)) {
    if (ahead.size > 8) forget(ahead.keys().next().value);
    const loaded = fetch(`/picture?${new URLSearchParams({ picture: name })}`).then(async (got) => {
      if (!got.ok) throw new Error((await got.json()).error);
      return URL.createObjectURL(await got.blob());
    });
    loaded.catch(() => {}); // it is said when the picture is shown
    ahead.set(name, loaded);
  }
  return ahead.get(name);
}
function forget(name) {
  ahead.get(name)?.then(URL.revokeObjectURL, () => {});
  ahead.delete(name);
}
async function present(name) {
  try {
    const source = await address(name);
    if (seen[0] === name) { $("shown").src = source; visible = name; }
  } catch (error) {
    if (seen[0] !== name) return;
    $("shown").hidden = true;
    for (const button of document.querySelectorAll("#answers button, #unsure")) button.disabled = true;
    fault(error instanceof TypeError ? ENDED : error.message);
  }
}
async function show(found) {
  if (!found) return;
  annotator = found.annotator;
  seen = found.next;
  const done = found.all - found.left;
  $("labeller").hidden = false;
  $("progress").max = found.all || 1;
  $("progress").value = done;
  $("so-far").textContent = found.left
    ? `${annotator}: ${done} of ${found.all} done, ${found.left} left.`
    : `${annotator}: all ${found.all} are done. Thank you. Undo still works.`;
  $("shown").hidden = !seen.length;
  for (const button of document.querySelectorAll("#answers button, #unsure, #skip")) button.disabled = !seen.length;
  const most = Math.max(1, ...Object.values(found.counts));
  $("balance").replaceChildren(...Object.entries(found.counts).map(([name, count]) => {
    const fill = h("i");
    fill.style.width = `${100 * count / most}%`;
    return h("div", { class: "bar" }, h("span", {}, name), fill,
      h("span", {}, count < most ? `${count}, ${most - count} fewer than the largest` : `${count}`));
  }));
  seen.forEach(address);
  if (seen.length) await present(seen[0]);
}
let busy = false, visible = ""; // the picture that is on the screen
async function say(label) {
  if (!seen.length || busy || label !== "(skipped)" && ($("shown").hidden || visible !== seen[0])) return;
  busy = true;
  await show(await ask("POST", "/label", { annotator, picture: seen[0], label }));
  busy = false;
}
async function undo() {
  if (!annotator || busy) return;
  busy = true;
  await show(await ask("POST", "/undo", { annotator }));
  busy = false;
}
$("annotator-form").onsubmit = async (event) => {
  event.preventDefault();
  clear();
  seen = []; // no key labels for the annotator before
  $("labeller").hidden = true;
  await refresh();
  if (!state.classes.length) return fault("Name the classes first, under 1 Collect.");
  if (!state.pictures) return fault("Add pictures first, under 1 Collect.");
  [...ahead.keys()].forEach(forget);
  await show(await ask("GET", "/next", { annotator: $("annotator").value }));
  document.activeElement.blur();
};
$("unsure").onclick = () => say("(cannot tell)");
$("skip").onclick = () => say("(skipped)");
$("undo").onclick = undo;

// After a click of the mouse the keys are those of the page, not of the button.
document.addEventListener("click", (event) => { if (event.detail) event.target.closest("button")?.blur(); });
document.addEventListener("keydown", (event) => {
  if ((event.key === "Enter" || event.key === " ") && event.target.closest("button, label")) return;
  if ($("cropper").open) {
    if (event.repeat) return;
    if (event.key === "Enter") { event.preventDefault(); keep(square); }
    if (event.key === "ArrowRight") nextCrop();
    return;
  }
  if (event.target.closest("input, select") || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (tab === "pictures" && stream && event.key === " ") { event.preventDefault(); $("snap").click(); }
  if (tab !== "labelling" || $("labeller").hidden) return;
  const key = /^Digit\d$/.test(event.code) ? event.code.at(-1) : event.key; // some keyboards need Shift for digits
  const name = state.classes[Number(key) - 1];
  if (name) say(name);
  else if (key === "0") say("(cannot tell)");
  else if (event.key === " ") { event.preventDefault(); say("(skipped)"); }
  else if (event.key === "u" || event.key === "Backspace") undo();
});

// --- the steps after it

const ratio = (one) => one === null ? "not defined" : one.toFixed(2).replace("-", "−");
const some = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;
const span = ([value, low, high], form) => low === null || value === null
  ? form(value) : `${form(value)} (${form(low)} to ${form(high)})`;

function agreed(found) {
  const parts = [table("What each annotator did", ["annotator", "labelled", "cannot tell"],
    Object.entries(found.annotators).map(([name, one]) => [name, one.pictures, one.unsure]))];
  if (!found.pictures) return [...parts, h("p", {}, "No picture has labels of two annotators yet.")];
  parts.push(table("Agreement beyond chance, with 95 % intervals", ["annotators", "pictures", "same label", "kappa"], [
    ...found.pairs.map((pair) => [pair.annotators.join(" and "), pair.pictures, percent(pair.same), span(pair.kappa, ratio)]),
    ["all (Fleiss)", found.pictures, "", span(found.fleiss, ratio)]]));
  parts.push(h("p", {}, `Ceiling: the most frequent label is that of ${span(found.ceiling, percent)} of all votes. No network can be `
    + "expected to agree with the label of a single annotator more often. With few annotators this number is high."));
  for (const pair of found.pairs) {
    const [one, other] = pair.annotators;
    parts.push(table(`Rows: ${one}. Columns: ${other}.`, ["class", ...state.classes],
      pair.confusion.map((row, i) => [state.classes[i], ...row])));
  }
  if (found.disputed.length) {
    parts.push(h("h2", {}, some(found.disputed.length, "disputed picture")), h("p", { class: "note" },
      "A picture has the label of most annotators. Where two labels have equally many votes it has none, unless you agree on one now."));
  }
  parts.push(...found.disputed.map(dispute));
  return parts;
}
function dispute(one) {
  const buttons = [...state.classes, "(cannot tell)"].map((name) => h("button", { "aria-pressed": one.decided === name, onclick: async () => {
    if (!await ask("POST", "/decide", { picture: one.picture, label: name })) return;
    buttons.forEach((button) => button.setAttribute("aria-pressed", button.textContent === name));
  } }, name));
  const votes = Object.entries(one.votes).map(([name, who]) => `${name}: ${who.join(", ")}`).join("; ");
  return h("div", { class: "dispute" }, picture(one.picture, "large"),
    h("div", {}, h("p", {}, votes), h("div", { class: "row" }, ...buttons)));
}
function divided(found) {
  const names = ["training", "validation", "test"];
  const parts = [
    h("p", {}, `Divided: ${some(found.pictures, "picture")} in ${some(found.groups, "group")}; the largest group has `
      + `${some(found.largest, "picture")}. Without a label, and left out: ${some(found.left_out, "picture")}.`),
    table("Pictures of each class", ["class", ...names],
      Object.entries(found.classes).map(([name, count]) => [name, ...names.map((one) => count[one])]))];
  const { random, grouped } = found.leak;
  if (random) {
    parts.push(table("The leak, as shares of the test pictures", ["test pictures", "divided at random", "this division"], [
      ["a picture of the same group is in training", percent(random.group), percent(grouped.group)],
      ["a near copy is in training", percent(random.copy), percent(grouped.copy)],
      ["the most similar training picture has the same label", percent(random.neighbour), percent(grouped.neighbour)]]));
  }
  if (found.near.length) {
    parts.push(h("h2", {}, `${some(found.pairs, "pair")} of near copies, whose groups were joined`),
      h("div", { class: "row" }, ...found.near.map((pair) => h("div", { class: "pair" }, ...pair.pictures.map((name) => picture(name))))));
  }
  parts.push(h("p", {}, "Now the notebooks can run on it: ", h("code", {}, `make photos FOLDER="${state.folder}"`)));
  return parts;
}
function drawn(found) {
  const [likely, cautious] = found.gain.map((one) => (100 * one).toFixed(1));
  return [h("img", { class: "curve", src: `/curve.png?${Date.now()}`, alt: "the learning curve" }),
    h("p", {}, `With ${found.largest} training pictures the network is right on ${span([found.now, ...found.interval], percent)} of the `
      + `${found.validation} validation pictures. Twice the pictures would bring ${likely} points by the fitted curve. `
      + `A cautious estimate is ${cautious} points. The true gain is smaller where the curve levels off.`)];
}
function described(found) {
  const parts = found.text.replace(/<!--.*?-->\n/g, "").split("**Open.**").flatMap((part, i) => i ? [h("mark", {}, "Open."), part] : [part]);
  return [h("p", {}, `${found.said}.`), h("pre", {}, ...parts)];
}
const drawings = { agree: agreed, split: divided, curve: drawn, datasheet: described };
for (const button of document.querySelectorAll("[data-step]")) {
  button.onclick = async () => {
    const said = button.nextElementSibling, place = said.nextElementSibling;
    button.disabled = true;
    clear();
    said.textContent = "Working.";
    place.replaceChildren();
    await refresh();
    const answer = await ask("POST", "/step", { step: button.dataset.step });
    const last = answer && await lines(answer, (one) => { if (one.line) said.textContent = one.line; });
    place.replaceChildren(...last && last.result ? drawings[button.dataset.step](last.result) : []);
    said.textContent = last?.result ? "Done." : "";
    button.disabled = false;
    if (document.activeElement === document.body) button.focus();
  };
}
for (const button of document.querySelectorAll("#tabs button")) {
  button.onclick = async () => {
    clear();
    open(button.dataset.tab);
    await refresh();
    const ready = annotator && !seen.length && !busy && !$("labeller").hidden;
    if (tab === "labelling" && ready) await show(await ask("GET", "/next", { annotator })); // pictures may be new
  };
}

open("pictures");
refresh();
grid();
