"use strict";
// The page asks the program on this machine, and draws what it answers.

const COLOURS = ["#d1495b", "#6a994e", "#8e5ea2", "#f2a900", "#3a7ca5", "#e58fb4",
  "#8a8f98", "#1fa3a3", "#8d6346", "#55639e"];
const FRAME = "#ffb000";
const MINUTE = 60;  // seconds of the camera's timeline
const GAP = 1;  // seconds without the face that the timeline leaves empty
const FASTEST = 33;  // ms from one picture of the camera to the next, at least
const LONGEST = 640;  // pixels of a camera's picture that is sent
const VIDEOS = /\.(mp4|avi|mov|mkv|webm|m4v|mpe?g|wmv|3gp|mts)$/i;
const CAMERA = {
  NotFoundError: "No camera was found: connect one, and try again.",
  OverconstrainedError: "This camera is no longer there: use the camera again.",
  NotAllowedError: "The browser may not use the camera: allow it in the address bar, and try again.",
  AbortError: "The camera cannot be started: close other programs that use it, and try again.",
  NotReadableError: "The camera is used by another program: close that, and try again.",
};
const ENDED = "The program does not answer: run make demo again.";

const at = Object.fromEntries([...document.querySelectorAll("[id]")].map((e) => [e.id, e]));
let networks = [];
let task = 0;  // the number of the newest task: what an older one answers is dropped
let stopping = new AbortController();
let last = null;  // the file that is shown
let stream = null;  // of the camera
let seen = null;  // what is known about the picture that is shown
let rows = [];  // {seconds, faces} of the camera's last minute, of a video, or of a photo
let film = 0;  // seconds that the video takes of which the rows are, else 0
let drawn = 0;  // when the timeline was drawn, in ms

const network = () => networks[at.network.selectedIndex];
const percent = (p) => `${Math.round(100 * p)} %`;
const named = (face) => network().faces ? `Face ${face.number}` : "Centre of the picture";
const clock = (s) => `${Math.floor(s / 60)}:${String(Math.floor(s % 60)).padStart(2, "0")}`;

function best(face) {
  return face.probabilities.indexOf(Math.max(...face.probabilities));
}

function label(face) {
  const i = best(face);
  return 100 * face.probabilities[i] >= at.confidence.value ? network().classes[i] : "not sure";
}

// --- asking

async function post(path, given, body) {
  const query = new URLSearchParams({ network: network().title, ...given });
  const answer = await fetch(`${path}?${query}`, { method: "POST", body, signal: stopping.signal });
  if (!answer.ok) throw new Error((await answer.json()).error);
  return answer;
}

function complain(error) {
  if (error.name === "AbortError") return;
  const text = error instanceof TypeError ? ENDED : error.message;
  at.error.textContent = text;
  at.error.hidden = !text;
  if (text) at.status.textContent = "";
}

// End what is going on, and begin something else. Return whether it is still wanted.
function begin(what) {
  stopping.abort();
  stopping = new AbortController();
  stream?.getTracks().forEach((track) => track.stop());
  stream = seen = null;
  rows = [];
  film = 0;
  const mine = ++task;
  at.error.hidden = true;
  at.status.textContent = what;
  at.video.pause();
  at.video.srcObject = null;
  if (at.video.src.startsWith("blob:")) URL.revokeObjectURL(at.video.src);
  at.video.removeAttribute("src");
  for (const name of ["stop", "which", "working", "results", "copy", "time", "speed", "media",
    "image", "video"]) at[name].hidden = true;
  at.empty.hidden = false;
  at.stage.classList.remove("full");
  at.whose.replaceChildren();
  at.start.hidden = false;
  show();
  return () => mine === task;
}

async function look(file) {
  await ready;
  last = file;
  const moving = file.type.startsWith("video/") || VIDEOS.test(file.name);
  const wanted = begin(`${file.name} is being looked at.`);
  try {
    await (moving ? watch(file, wanted) : photograph(file, wanted));
  } catch (error) {
    const readable = () => file.slice(0, 1).arrayBuffer().then(() => true, () => false);
    const gone = error instanceof TypeError && !await readable();
    if (wanted()) {
      at.working.hidden = true;
      complain(gone ? new Error(`${file.name} was changed or removed: choose it again.`) : error);
    }
  }
}

async function photograph(file, wanted) {
  const start = performance.now();
  const answer = await (await post("photo", { name: file.name }, file)).json();
  if (!wanted()) return;
  picture(answer, answer.picture, `The picture ${file.name}`);
  rows = [{ seconds: 0, faces: answer.faces }];
  at.results.hidden = false;
  show();
  at.status.textContent = sentence();
  at.speed.textContent = `It took ${Math.round(performance.now() - start)} ms.`;
  at.speed.hidden = false;
}

function picture(answer, address, alt) {
  seen = answer;
  at.image.src = address;
  at.image.alt = alt;
  reveal(at.image);
}

function reveal(media) {
  at.media.hidden = media.hidden = false;
  at.empty.hidden = true;
  at.stage.classList.add("full");
  fit();
}

async function watch(file, wanted) {
  const name = file.name, below = at.confidence.value;
  at.working.hidden = false;
  at.progress.removeAttribute("value");
  at.done.textContent = "";
  const answer = await post("film", { name, confidence: below / 100 }, file);
  const start = performance.now();
  film = 1;
  at.time.hidden = false;
  for await (const one of lines(answer)) {
    if (!wanted()) return;
    if (one.error) throw new Error(one.error);
    if (one.copy) {
      at.copy.href = `copy?name=${one.copy}`;
      at.copy.download = name.replace(/\.[^.]*$/, "") + "-faces.mp4";
      at.copy.textContent = `Save the annotated video (“not sure” below ${below} %)`;
      at.copy.hidden = false;
      break;
    }
    rows.push({ seconds: one.seconds, faces: one.faces });
    film = Math.max(one.seconds, one.seconds / rows.length * one.of) || 1;
    if (one.picture) {
      picture(one, one.picture, `A frame of ${name}`);
      progress(rows.length, one.of, (performance.now() - start) / 1000);
      show();
    }
  }
  if (at.copy.hidden) throw new Error(ENDED);
  film = rows.at(-1).seconds || 1;
  at.working.hidden = true;
  at.results.hidden = false;
  show();
  const count = rows.filter((row) => row.faces.length).length;
  const speed = Math.round(rows.length / (performance.now() - start) * 1000);
  at.status.textContent = `${name} is done: ${rows.length} frames`
    + (network().faces ? `, ${count} of them with a face.` : ".");
  at.speed.textContent = `${speed} frames a second.`;
  at.speed.hidden = false;
  play(file, wanted);
}

// Show the video itself, with what was seen in it. One that the browser cannot play
// stays the last picture of it.
function play(file, wanted) {
  at.video.onloadeddata = () => {
    if (!wanted()) return;
    at.image.hidden = true;
    at.video.classList.remove("mirrored");
    reveal(at.video);
    (function follow() {
      if (!wanted()) return;
      const now = at.video.currentTime;
      const next = rows.findIndex((row) => row.seconds > now + 0.02);
      seen = { ...seen, faces: rows.at(next < 0 ? -1 : Math.max(0, next - 1)).faces };
      show(performance.now() - drawn > 250);
      at.video.requestVideoFrameCallback(follow);
    })();
  };
  at.video.onerror = () => wanted() && (at.speed.textContent +=
    " The browser cannot play this video: the annotated copy holds its frames.");
  at.video.controls = true;
  at.video.src = URL.createObjectURL(file);
}

function progress(count, of, gone) {
  const known = of >= count;  // some videos do not say how many frames they have
  at.done.textContent = known
    ? `frame ${count} of ${of}, ${clock(gone / count * (of - count))} left` : `frame ${count}`;
  if (known) [at.progress.max, at.progress.value] = [of, count];
  else at.progress.removeAttribute("value");
}

async function* lines(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ""; ;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    for (const part of parts) yield JSON.parse(part);
  }
}

async function use_camera(id) {
  last = null;
  const wanted = begin("The camera is being opened.");
  try {
    if (!navigator.mediaDevices) throw new DOMException("", "NotFoundError");
    const size = { width: { ideal: 640 }, height: { ideal: 480 } };
    const device = id ? { deviceId: { exact: id } } : {};
    const opened = await navigator.mediaDevices.getUserMedia({ video: { ...size, ...device } });
    if (!wanted()) {
      opened.getTracks().forEach((track) => track.stop());
      return;
    }
    stream = opened;
    const [track] = stream.getVideoTracks();
    track.onended = () => {
      if (!wanted()) return;
      begin("");
      complain(new Error("The camera was disconnected: connect it, and start it again."));
    };
    await list_cameras(track.getSettings().deviceId);
    if (!wanted()) return;
    at.video.controls = false;
    at.video.classList.add("mirrored");
    at.video.srcObject = stream;
    await at.video.play();
    at.stop.hidden = at.time.hidden = at.results.hidden = false;
    at.start.hidden = true;
    if (document.activeElement === document.body) (id ? at.camera : at.stop).focus();
    at.status.textContent = "The camera is on.";
    await follow_camera(wanted);
  } catch (error) {
    if (wanted()) {
      begin("");
      complain(CAMERA[error.name] ? new Error(CAMERA[error.name]) : error);
    }
  }
}

async function list_cameras(current) {
  const cameras = (await navigator.mediaDevices.enumerateDevices())
    .filter((device) => device.kind === "videoinput");
  at.camera.replaceChildren(...cameras.map((camera, i) => {
    const name = camera.label || `camera ${i + 1}`;
    return new Option(name, camera.deviceId, false, camera.deviceId === current);
  }));
  at.which.hidden = !stream;
}

async function follow_camera(wanted) {
  const session = crypto.randomUUID(), start = performance.now();
  let before = start, interval = 0, told = 0;
  seen = { width: at.video.videoWidth, height: at.video.videoHeight, faces: [] };
  reveal(at.video);
  while (wanted()) {
    const shot = photographed(), asked = performance.now();
    // Not toBlob, which waits until the browser has nothing else to do.
    const body = shot.toDataURL("image/jpeg", 0.9);
    const answer = await (await post("frame", { session }, body)).json();
    if (!wanted()) return;
    const now = performance.now();
    const resized = answer.width !== seen.width || answer.height !== seen.height;
    seen = { ...answer, shot };
    if (resized) fit();
    rows.push({ seconds: (now - start) / 1000, faces: answer.faces });
    while (rows[0].seconds < rows.at(-1).seconds - MINUTE) rows.shift();
    interval = interval ? 0.9 * interval + 0.1 * (now - before) : now - before;
    before = now;
    if (now - told > 500) {
      told = now;
      at.speed.textContent = `${Math.round(1000 / interval)} pictures a second,`
        + ` an answer after ${Math.round(now - asked)} ms`;
      at.speed.hidden = false;
      draw_timeline();
    }
    show(false);
    await new Promise((done) => setTimeout(done, Math.max(0, asked + FASTEST - now)));
    if (document.hidden) await new Promise((done) => document.onvisibilitychange = done);
  }
}

function photographed() {
  const { videoWidth: width, videoHeight: height } = at.video;
  const scale = Math.min(1, LONGEST / Math.max(width, height));
  const shot = document.createElement("canvas");
  [shot.width, shot.height] = [Math.round(width * scale), Math.round(height * scale)];
  const pen = shot.getContext("2d", { willReadFrequently: true });
  pen.drawImage(at.video, 0, 0, shot.width, shot.height);
  return shot;
}

// --- showing

function fit() {
  if (!seen) return;
  const { width, height } = seen;
  const room = Math.min(at.stage.clientWidth, window.innerHeight * 0.62 * width / height);
  at.media.style.width = `${Math.min(room, 4 * width)}px`;
  at.media.style.aspectRatio = `${width} / ${height}`;
  draw_overlay();
}

function show(timeline = true) {
  draw_overlay();
  draw_faces();
  if (timeline) draw_timeline();
}

function sentence() {
  const { faces } = seen;
  if (!faces.length) return "No face was found: it must look into the camera, and be lit.";
  const words = faces.slice(0, 5).map((face) => `${named(face)}: ${label(face)}`).join(", ");
  if (faces[0].whole) return `No face was found; the whole picture was classified: ${label(faces[0])}.`;
  return words + (faces.length > 5 ? `, and ${faces.length - 5} more face${faces.length > 6 ? "s" : ""}.` : ".");
}

function paint(canvas, width, mirrored) {
  const pen = canvas.getContext("2d"), scale = width / seen.width, ratio = canvas.width / width;
  pen.scale(ratio, ratio);
  pen.font = "600 14px system-ui, sans-serif";
  pen.textBaseline = "middle";
  for (const face of seen.faces) {
    const side = face.side * scale, top = face.top * scale;
    const left = scale * (mirrored ? seen.width - face.left - face.side : face.left);
    pen.strokeStyle = pen.fillStyle = FRAME;
    pen.lineWidth = 3;
    pen.strokeRect(left, top, side, side);
    const few = side > 50 || seen.faces.length < 4;
    const text = !few ? face.number : network().faces ? `${face.number} ${label(face)}` : label(face);
    const size = pen.measureText(text).width + 10;
    const x = Math.max(0, Math.min(left - 1.5, width - size)), y = Math.max(0, top - 22);
    pen.fillRect(x, y, size, 22);
    pen.fillStyle = "#1a1200";
    pen.fillText(text, x + 5, y + 11.5);
  }
}

function draw_overlay() {
  const { clientWidth: width, clientHeight: height } = at.media, ratio = devicePixelRatio;
  [at.overlay.width, at.overlay.height] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (seen && width) paint(at.overlay, width, Boolean(stream));
}

function draw_faces() {
  const faces = seen?.faces ?? [];
  at.nobody.hidden = faces.length > 0;
  at.nobody.textContent = seen ? "No face is found." : network()?.faces ?? true
    ? "Each face that is found gets a name for its expression, and its calibrated probabilities."
    : "The centre of the picture gets calibrated probabilities.";
  const cards = new Map([...at.faces.children].map((card) => [card.dataset.number, card]));
  const present = new Set(faces.map((face) => String(face.number)));
  cards.forEach((card, number) => present.has(number) || card.remove());
  faces.toSorted((a, b) => a.number - b.number).forEach((face, i) => {
    let card = cards.get(String(face.number));
    if (!card) {
      card = make_card(face);
      at.faces.insertBefore(card, at.faces.children[i] ?? null);
    }
    const top = best(face);
    card.querySelector(".name").textContent = named(face);
    card.querySelector(".label").textContent = label(face);
    card.querySelectorAll(".bars li").forEach((bar, j) => {
      const p = face.probabilities[j];
      bar.classList.toggle("best", j === top);
      bar.querySelector(".fill").style.width = `${100 * p}%`;
      bar.querySelector(".value").textContent = percent(p);
    });
  });
}

function make_card(face) {
  const card = document.createElement("li");
  card.dataset.number = face.number;
  card.innerHTML = `<h3><span class="name"></span><span class="label"></span></h3><ul class="bars"></ul>`;
  card.querySelector(".bars").append(...network().classes.map((name, i) => {
    const bar = document.createElement("li");
    bar.innerHTML = `<span></span><span class="track"><span class="fill"></span></span><span class="value"></span>`;
    bar.firstChild.textContent = name;
    bar.querySelector(".fill").style.background = COLOURS[i % COLOURS.length];
    return bar;
  }));
  return card;
}

function draw_timeline() {
  if (at.time.hidden) return;
  drawn = performance.now();
  const numbers = [...new Set(rows.flatMap((row) => row.faces.map((face) => face.number)))];
  numbers.sort((a, b) => a - b);
  if ([...at.whose.options].map((one) => +one.value).join() !== numbers.join()) {
    const chosen = +at.whose.value;
    at.whose.replaceChildren(...numbers.map((n) =>
      new Option(named({ number: n }), n, false, n === chosen)));
  }
  at["time-title"].textContent = film ? "The whole video" : "The last minute";
  const who = +at.whose.value, canvas = at.timeline, pen = canvas.getContext("2d");
  const { clientWidth: width, clientHeight: height } = canvas, ratio = devicePixelRatio;
  [canvas.width, canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
  pen.scale(ratio, ratio);
  const style = getComputedStyle(document.body), muted = style.getPropertyValue("--muted");
  const end = film || (rows.at(-1)?.seconds ?? 0), begin = film ? 0 : end - MINUTE;
  const [left, right, top, bottom] = [44, width - 8, 8, height - 24];
  const x = (s) => left + (right - left) * (s - begin) / (end - begin);
  const y = (p) => bottom - (bottom - top) * p;
  pen.strokeStyle = style.getPropertyValue("--line");
  pen.fillStyle = muted;
  pen.font = "12px system-ui, sans-serif";
  pen.textAlign = "right";
  pen.textBaseline = "middle";
  for (const p of [0, 0.5, 1]) {
    pen.beginPath();
    pen.moveTo(left, y(p));
    pen.lineTo(right, y(p));
    pen.stroke();
    pen.fillText(percent(p), left - 6, y(p));
  }
  pen.textBaseline = "top";
  const marks = [0, 1 / 3, 2 / 3, 1].map((part) => begin + (end - begin) * part);
  marks.forEach((s, i) => {
    pen.textAlign = i === 0 ? "left" : i === marks.length - 1 ? "right" : "center";
    const text = film ? `${s.toFixed(end < 20 ? 1 : 0)} s`
      : s === end ? "now" : `${Math.round(end - s)} s ago`;
    pen.fillText(text, x(s), bottom + 7);
  });
  const all = rows.flatMap((row) => row.faces.filter((face) => face.number === who)
    .map((face) => ({ seconds: row.seconds, face })));
  const step = Math.ceil(all.length / width), points = all.filter((_, i) => i % step === 0);
  const gap = GAP + 2 * step * (end - begin) / Math.max(1, rows.length);
  const sums = points.map(({ face }) => face.probabilities.map(((sum) => (p) => sum += p)(0)));
  const parts = [];  // without a longer gap
  points.forEach((point, i) => {
    if (i && point.seconds - points[i - 1].seconds < gap) parts.at(-1).push(i);
    else parts.push([i]);
  });
  network().classes.forEach((_, j) => {
    pen.fillStyle = COLOURS[j % COLOURS.length];
    for (const part of parts) {
      pen.beginPath();
      for (const i of part) pen.lineTo(x(points[i].seconds), y(j ? sums[i][j - 1] : 0));
      for (const i of part.toReversed()) pen.lineTo(x(points[i].seconds) + 0.5, y(sums[i][j]));
      pen.fill();
    }
  });
  if (film && !at.video.hidden) {
    pen.fillStyle = style.getPropertyValue("--text");
    pen.fillRect(x(Math.min(end, at.video.currentTime)) - 1, top, 2, bottom - top);
  }
  if (at.legend.children.length !== network().classes.length) {
    at.legend.replaceChildren(...network().classes.map((name, i) => {
      const item = document.createElement("li"), box = document.createElement("span");
      box.style.background = COLOURS[i % COLOURS.length];
      item.append(box, name);
      return item;
    }));
  }
  const counts = {};
  for (const { face } of points) counts[label(face)] = (counts[label(face)] ?? 0) + 1;
  const shares = Object.entries(counts).sort((a, b) => b[1] - a[1])
    .map(([name, n]) => `${name} ${percent(n / points.length)}`);
  at.summary.textContent = points.length
    ? `${named({ number: who })}, share of the time: ${shares.join(", ")}.` : "No face was found yet.";
  canvas.setAttribute("aria-label", `Probabilities over time. ${at.summary.textContent}`);
}

// --- saving

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function table() {
  const lines = [["seconds", "face", "left", "top", "side", "label", ...network().classes]];
  for (const { seconds, faces } of rows) {
    for (const face of faces) {
      lines.push([seconds.toFixed(3), face.number, face.left, face.top, face.side, label(face),
        ...face.probabilities.map((p) => p.toFixed(4))]);
    }
  }
  return lines.map((line) => line.join()).join("\r\n") + "\r\n";
}

function annotated() {
  const mirrored = Boolean(stream);
  const media = seen.shot ?? (at.video.hidden ? at.image : at.video);
  const canvas = document.createElement("canvas"), pen = canvas.getContext("2d");
  canvas.width = Math.max(seen.width, 640);
  canvas.height = Math.round(canvas.width * seen.height / seen.width);
  if (mirrored) {
    pen.translate(canvas.width, 0);
    pen.scale(-1, 1);
  }
  pen.drawImage(media, 0, 0, canvas.width, canvas.height);
  pen.resetTransform();
  paint(canvas, Math.min(canvas.width, 900), mirrored);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}

// --- what a person does

at.choose.onclick = () => at.file.click();
at.file.onchange = () => {
  if (at.file.files.length) look(at.file.files[0]);
  at.file.value = "";
};
at.start.onclick = () => use_camera();
at.stop.onclick = () => { begin("The camera is off."); at.start.focus(); };
at.cancel.onclick = () => {
  last = null;
  begin("The video was left.");
  at.choose.focus();
};
at.camera.onchange = () => use_camera(at.camera.value);
at.whose.onchange = draw_timeline;
at["save-table"].onclick = () => save(new Blob([table()], { type: "text/csv" }), "faces.csv");
at["save-picture"].onclick = async () => save(await annotated(), "faces.png");
at.confidence.oninput = () => {
  at.below.textContent = `${at.confidence.value} %`;
  show();
  if (seen && last && !film) at.status.textContent = sentence();
};
at.network.onchange = () => {
  at.faces.replaceChildren();
  at.legend.replaceChildren();
  at["found-title"].textContent = network().faces ? "Faces" : "Classes";
  if (stream) use_camera(at.camera.value);
  else if (last) look(last);
  else show();
};
for (const button of document.querySelectorAll("[data-example]")) {
  button.onclick = async () => {
    const name = button.dataset.example;
    try {
      look(new File([await (await fetch(`examples/${name}`)).blob()], name));
    } catch (error) {
      complain(error);
    }
  };
}
addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dragging");
});
addEventListener("dragleave", () => document.body.classList.remove("dragging"));
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  const [item] = event.dataTransfer.items;
  if (item?.webkitGetAsEntry()?.isDirectory) complain(new Error("A folder cannot be dropped here: choose a picture or a video."));
  else if (event.dataTransfer.files.length) look(event.dataTransfer.files[0]);
});
addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) look(event.clipboardData.files[0]);
});
addEventListener("resize", () => { fit(); show(); });
navigator.mediaDevices?.addEventListener("devicechange", () => {
  if (stream) list_cameras(stream.getVideoTracks()[0].getSettings().deviceId);
});

async function load_networks() {
  try {
    const answer = await fetch("networks");
    networks = await answer.json();
    if (!answer.ok) throw new Error(networks.error);
  } catch (error) {
    complain(error);
    throw error;
  }
  at.network.replaceChildren(...networks.map((one) => new Option(one.title)));
  at.network.disabled = false;
  at.status.textContent = "";
  for (const button of document.querySelectorAll("button")) button.disabled = false;
}

for (const button of document.querySelectorAll("button")) button.disabled = true;
const ready = new Promise((done) => addEventListener("load", done)).then(load_networks);
