"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const make = (tag, attributes = {}, text = "") => {
    const e = document.createElement(tag);
    for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
    e.textContent = text;
    return e;
  };

  // ---- What links one thing to another: a node's lines, role and op. -------------------------
  const gradient = (node) => node.role === "backward" || node.role === "update";
  const short = (line) => line.replace(/^.*[\\/]/, "");
  const same = (a, b) =>
    a.op === b.op && a.role === b.role &&
    (a.lines.length ? a.lines.some((l) => b.lines.includes(l)) : a.name === b.name);

  // ---- Source -------------------------------------------------------------------------------
  const known = new Set();
  for (const stage of Object.values(data.stages))
    for (const node of Object.values(stage.nodes)) node.lines.forEach((l) => known.add(l));
  const row = (number, text, attributes) => {
    const e = make("span", attributes);
    e.append(make("i", {}, String(number)), document.createTextNode(text));
    return e;
  };
  for (const { file, rows } of data.sources) {
    $("source-rows").append(make("div", { class: "file" }, file));
    for (const [number, text] of rows) {
      const line = `${file}:${number}`;
      const e = row(number, text, known.has(line)
        ? { class: "row", role: "button", tabindex: "-1", "data-line": line }
        : { class: "row plain" });
      if (line === data.failing) e.classList.add("failing");
      $("source-rows").append(e);
    }
  }

  // ---- Kernels ------------------------------------------------------------------------------
  for (const [key, text] of Object.entries(data.texts)) {
    const tab = make("button", { type: "button", role: "tab", id: `tab-${key}`,
      "data-tab": key, "aria-controls": `text-${key}` }, key === "c" ? "C" : "Triton");
    $("languages").append(tab);
    const panel = make("div", { role: "tabpanel", id: `text-${key}`, "data-text": key,
      "aria-labelledby": `tab-${key}`, hidden: "" });
    text.lines.forEach((line, i) => {
      const node = text.nodes[i];
      panel.append(row(i + 1, line, node === null || !text.links[node]
        ? { class: "row plain" }
        : { class: "row", role: "button", tabindex: "-1", "data-node": node, "data-text": key }));
    });
    $("kernel-rows").append(panel);
  }
  if (!Object.keys(data.texts).length) {
    $("kernels").hidden = true;
    document.querySelector("main").classList.add("no-kernels");
  }

  // ---- Tabs ---------------------------------------------------------------------------------
  const choose = (list, key, focus = false) => {
    for (const tab of list.querySelectorAll("[role=tab]")) {
      const chosen = tab.dataset.tab === key;
      tab.setAttribute("aria-selected", chosen);
      tab.tabIndex = chosen ? 0 : -1;
      $(tab.getAttribute("aria-controls")).hidden = !chosen;
      if (chosen && focus) tab.focus();
    }
    light();
    document.querySelector(".zoom").hidden = !drawing();
  };
  for (const list of document.querySelectorAll("[role=tablist]")) {
    list.addEventListener("click", (event) => {
      const tab = event.target.closest("[role=tab]");
      if (tab) choose(list, tab.dataset.tab);
    });
    list.addEventListener("keydown", (event) => {
      const tabs = [...list.querySelectorAll("[role=tab]")];
      const step = { ArrowRight: 1, ArrowLeft: -1, Home: -1e6, End: 1e6 }[event.key];
      if (!step) return;
      const at = tabs.indexOf(document.activeElement);
      const to = Math.abs(step) > 1 ? (step < 0 ? 0 : tabs.length - 1)
        : (at + step + tabs.length) % tabs.length;
      choose(list, tabs[to].dataset.tab, true);
      event.preventDefault();
    });
  }
  const current = () => {
    const tab = document.querySelector("#stages [aria-selected=true]");
    return tab ? tab.dataset.tab : data.first;
  };
  const drawing = () =>
    document.querySelector(`#panel-${current()} .drawing:not([hidden])`);

  // ---- Boxes --------------------------------------------------------------------------------
  for (const d of document.querySelectorAll(".drawing")) {
    const stage = data.stages[d.closest(".stage").dataset.stage];
    const boxes = (stage.boxes || {})[d.dataset.form] || {};
    for (const g of d.querySelectorAll("g.box")) {
      const members = boxes[g.dataset.id] || [];
      if (!members.length) { g.classList.remove("box"); continue; }
      g.dataset.members = members.join(" ");
      g.setAttribute("role", "button");
      g.setAttribute("tabindex", "-1");
      g.setAttribute("aria-label", members.map((m) => (stage.nodes[m] || {}).text).join("; "));
    }
  }
  const boxNodes = (g) => {
    const stage = data.stages[g.closest(".stage").dataset.stage];
    return g.dataset.members.split(" ").map((m) => stage.nodes[m]).filter(Boolean);
  };

  // ---- Lighting up --------------------------------------------------------------------------
  // What is chosen: a line of the source, or nodes; or nothing.
  let chosen = null;
  const mark = (e, kind) => e.classList.add(kind);
  const matches = (node) => {
    if (!chosen) return null;
    if (chosen.line)
      return node.lines.includes(chosen.line) ? (gradient(node) ? "grad" : "lit") : null;
    return chosen.nodes.some((c) => c === node || same(c, node))
      ? (gradient(node) ? "grad" : "lit") : null;
  };
  function light() {
    for (const e of document.querySelectorAll(".lit, .grad")) e.classList.remove("lit", "grad");
    for (const d of document.querySelectorAll(".dimmed")) d.classList.remove("dimmed");
    if (!chosen) return;
    const lines = new Map();
    if (chosen.line) lines.set(chosen.line, "lit");
    else for (const n of chosen.nodes)
      for (const l of n.lines) lines.set(l, lines.get(l) === "lit" ? "lit" : gradient(n) ? "grad" : "lit");
    for (const e of document.querySelectorAll("#source .row[data-line]"))
      if (lines.has(e.dataset.line)) mark(e, lines.get(e.dataset.line));
    const d = drawing();
    let any = false;
    if (d) for (const g of d.querySelectorAll("g.box[data-members]")) {
      const kinds = boxNodes(g).map(matches).filter(Boolean);
      if (kinds.length) { mark(g, kinds.includes("lit") ? "lit" : "grad"); any = true; }
    }
    if (d && any) d.classList.add("dimmed");
    for (const e of document.querySelectorAll("#kernel-rows .row[data-node]")) {
      const kind = matches(data.texts[e.dataset.text].links[e.dataset.node]);
      if (kind) mark(e, kind);
    }
  }
  const reveal = (origin) => {
    for (const area of ["source-rows", "kernel-rows"]) {
      if ($(area).contains(origin)) continue;
      const e = [...$(area).querySelectorAll(".row.lit, .row.grad")].find((x) => x.offsetParent);
      if (e) e.scrollIntoView({ block: "center", inline: "nearest" });
    }
    const d = drawing();
    const g = d && !d.contains(origin) && d.querySelector("g.box.lit, g.box.grad");
    if (g) g.scrollIntoView({ block: "center", inline: "center" });
  };
  const describe = () => {
    if (!chosen) return "Choose a source line, a box or a kernel line: what belongs together lights up.";
    const count = (kind) => document.querySelectorAll(kind).length;
    const text = "#kernel-rows > :not([hidden]) ";
    const here = count(`${text}.row.lit, ${text}.row.grad`);
    const totals = `${count(".stage:not([hidden]) .drawing:not([hidden]) g.lit")} forward and `
      + `${count(".stage:not([hidden]) .drawing:not([hidden]) g.grad")} gradient boxes, ${here} kernel lines`;
    if (chosen.line) return `${short(chosen.line)}: ${totals}`;
    const told = chosen.nodes.slice(0, 6).map((n) =>
      `${n.text}   ${n.type}${n.lines.length ? "   " + n.lines.map(short).join(", ") : ""}`
      + (n.why ? `\nno gradient: ${n.why}` : ""));
    if (chosen.nodes.length > 6) told.push(`… ${chosen.nodes.length - 6} more`);
    return `${told.join("\n")}\n${totals}`;
  };
  const select = (next, origin) => {
    chosen = next;
    light();
    if (next) reveal(origin);
    $("detail").textContent = describe();
  };
  const pick = (e) => {
    if (e.dataset.line) select({ line: e.dataset.line }, e);
    else if (e.dataset.members) select({ nodes: boxNodes(e) }, e);
    else if (e.dataset.node)
      select({ nodes: [data.texts[e.dataset.text].links[e.dataset.node]] }, e);
  };
  const pickable = (target) =>
    target.closest && target.closest(".row[data-line], .row[data-node], g.box[data-members]");
  document.addEventListener("click", (event) => {
    const e = pickable(event.target);
    if (e) { pick(e); e.focus({ preventScroll: true }); }
  });
  // A folded box opens: the full drawing, with its ops lit.
  const open = (g) => {
    const panel = g.closest(".stage");
    const fold = panel.querySelector(".fold");
    if (!g.classList.contains("folded") || !fold) return;
    fold.click();
    select({ nodes: boxNodes(g) }, g);
  };
  document.addEventListener("dblclick", (event) => {
    const g = pickable(event.target);
    if (g && g.dataset.members) open(g);
  });
  for (const fold of document.querySelectorAll(".fold"))
    fold.addEventListener("click", () => {
      const folded = fold.getAttribute("aria-pressed") !== "true";
      fold.setAttribute("aria-pressed", folded);
      for (const d of fold.closest(".stage").querySelectorAll(".drawing"))
        d.hidden = (d.dataset.form === "folded") !== folded;
      light();
    });

  // ---- Keyboard -----------------------------------------------------------------------------
  const areas = ["source-rows", "graph", "kernel-rows"];
  const items = (area) =>
    [...$(area).querySelectorAll(".row[tabindex], g.box[tabindex]")].filter((e) =>
      !e.closest("[hidden]"));
  const enter = () => {
    for (const area of areas) {
      const all = items(area);
      all.forEach((e) => e.setAttribute("tabindex", "-1"));
      if (all.length) all[0].setAttribute("tabindex", "0");
    }
  };
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && event.target !== $("search")) {
      $("search").focus(); event.preventDefault(); return;
    }
    if (event.key === "Escape") { $("search").value = ""; $("found").textContent = ""; select(null); return; }
    const e = pickable(event.target);
    if (!e) return;
    if (event.key === "Enter" || event.key === " ") {
      pick(e);
      if (event.key === "Enter" && event.shiftKey && e.dataset.members) open(e);
      event.preventDefault();
    }
    const step = { ArrowDown: 1, ArrowUp: -1, ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step) {
      const area = areas.find((a) => $(a).contains(e));
      const all = items(area);
      const next = all[all.indexOf(e) + step];
      if (next) {
        e.setAttribute("tabindex", "-1");
        next.setAttribute("tabindex", "0");
        next.focus();
        next.scrollIntoView({ block: "nearest", inline: "nearest" });
      }
      event.preventDefault();
    }
  });

  // ---- Search -------------------------------------------------------------------------------
  let hits = [], at = 0;
  const search = () => {
    const word = $("search").value.trim().toLowerCase();
    hits = [];
    at = 0;
    if (!word) { $("found").textContent = ""; select(null); return; }
    const stage = data.stages[current()] || data.stages[data.first];
    hits = Object.values(stage.nodes).filter((n) =>
      [n.name, n.op, n.text, ...n.lines.map(short)].some((t) => t.toLowerCase().includes(word)));
    $("found").textContent = hits.length ? `${hits.length} found` : "nothing found";
    select(hits.length ? { nodes: hits } : null, $("search"));
  };
  $("search").addEventListener("input", search);
  $("search").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !hits.length) return;
    // Enter walks through the hits, one by one.
    const node = hits[at % hits.length];
    at += 1;
    select({ nodes: [node] }, $("search"));
    $("found").textContent = `${(at - 1) % hits.length + 1} of ${hits.length}`;
  });

  // ---- Zoom, theme --------------------------------------------------------------------------
  let zoom = 1;
  const resize = () => {
    for (const svg of document.querySelectorAll(".drawing svg")) {
      const natural = svg.viewBox.baseVal.width * 4 / 3;
      svg.style.width = `${Math.round(natural * zoom)}px`;
      svg.removeAttribute("height");
    }
  };
  const fit = () => {
    const d = drawing();
    const svg = d && d.querySelector("svg");
    if (!svg) return;
    const natural = svg.viewBox.baseVal.width * 4 / 3;
    zoom = Math.max(.45, Math.min(1.1, (d.clientWidth - 4) / natural));
    resize();
  };
  $("larger").addEventListener("click", () => { zoom *= 1.25; resize(); });
  $("smaller").addEventListener("click", () => { zoom /= 1.25; resize(); });
  $("fit").addEventListener("click", fit);
  $("clear").addEventListener("click", () => select(null));
  $("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });
  const toKernel = () => {
    // The text begins with helpers: show where the first value is computed.
    const first = [...document.querySelectorAll("#kernel-rows .row[data-node]")].find(
      (e) => e.offsetParent);
    if (first && !chosen) $("kernel-rows").scrollTop = first.offsetTop - $("kernel-rows").offsetTop - 60;
  };
  $("languages").addEventListener("click", () => { toKernel(); enter(); });
  $("stages").addEventListener("click", () => { fit(); enter(); });

  choose($("stages"), data.first);
  if (Object.keys(data.texts).length) choose($("languages"), Object.keys(data.texts)[0]);
  fit();
  enter();
  toKernel();
})();
