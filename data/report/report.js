// The gallery: pictures are put in near the window and taken out far from it.
"use strict";
(() => {
  const find = (id) => document.getElementById(id);
  const list = find("cards");
  if (!list) return;
  const cards = Array.from(list.children);
  const byClass = find("by-class"), bySplit = find("by-split"), order = find("order");
  const KEPT = 12; // the first ones stay, for printing
  const TOGETHER = 8; // cards of a group; what happens to one touches no other
  let shown = cards, current = cards[0];

  const data = new WeakMap();
  const contents = (card) => {
    if (!data.has(card)) data.set(card, JSON.parse(card.querySelector("script").textContent));
    return data.get(card);
  };

  const picture = (source, kind) => {
    const image = new Image();
    image.decoding = "async";
    image.alt = "";
    image.draggable = false;
    image.className = kind;
    image.src = source;
    return image;
  };

  // The map of the class that is looked for, else the strongest of all.
  const mapOf = (maps) => maps.find(([id]) => String(id) === byClass.value) || maps[0];

  const layersOf = (card, panel) => {
    const { pictures, maps } = contents(card);
    const layers = pictures.image ? [picture(pictures.image, "")] : [];
    let title = card.querySelector(`[data-panel=${panel}]`).dataset.title;
    if (panel === "cam") {
      const [id, source] = mapOf(maps);
      layers.push(picture(source, "over-lay"));
      if (id) title += `: ${labelOf(id)}`;
    } else if (panel !== "image") {
      layers.push(picture(pictures[panel], "over-lay labels"));
    }
    return [layers, title];
  };

  const labelOf = (id) => byClass.querySelector(`option[value="${id}"]`)?.textContent ?? id;

  const draw = (card) => {
    for (const figure of card.querySelectorAll("figure")) {
      const [layers, title] = layersOf(card, figure.dataset.panel);
      figure.firstChild.replaceChildren(...layers);
      figure.lastChild.textContent = title;
    }
  };

  const filled = new Set(), nearby = new Set();
  let first = new Set();

  const fill = (card) => {
    if (filled.has(card)) return;
    filled.add(card);
    card.classList.add("filled");
    draw(card);
  };

  const empty = (card) => {
    if (nearby.has(card.parentNode) || first.has(card) || !filled.delete(card)) return;
    card.classList.remove("filled");
    data.delete(card);
    for (const frame of card.querySelectorAll(".frame")) frame.replaceChildren();
  };

  const near = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      nearby[isIntersecting ? "add" : "delete"](target);
      Array.from(target.children, isIntersecting ? fill : empty);
    }
  }, { rootMargin: "800px 0px" });

  // Put the shown cards into the page, in groups.
  const place = () => {
    near.disconnect();
    nearby.clear();
    list.replaceChildren();
    for (let start = 0; start < shown.length; start += TOGETHER) {
      const group = document.createElement("div");
      group.className = "group";
      group.append(...shown.slice(start, start + TOGETHER));
      list.append(group);
      near.observe(group);
    }
  };

  const numberOf = (text) => (text ? Number(text) : NaN);
  const facts = new Map(cards.map((card) => [card, {
    splits: JSON.parse(card.dataset.splits),
    miou: numberOf(card.dataset.miou),
    iou: new Map(Array.from(card.querySelectorAll(".chips li"), ({ dataset }) => [dataset.id, numberOf(dataset.iou)])),
  }]));

  const inOrder = (members) => {
    if (order.value === "name") return members;
    if (order.value === "random") {
      return [...members].sort((a, b) => (a.dataset.chance < b.dataset.chance ? -1 : 1));
    }
    // by the IoU of the class that is looked for, else by the mIoU
    const scoreOf = (card) => (byClass.value ? facts.get(card).iou.get(byClass.value) : facts.get(card).miou);
    const sign = order.value === "best" ? -1 : 1;
    const scored = members.filter((card) => !Number.isNaN(scoreOf(card)));
    const others = members.filter((card) => Number.isNaN(scoreOf(card)));
    return [...scored.sort((a, b) => sign * (scoreOf(a) - scoreOf(b))), ...others];
  };

  const update = () => {
    const wanted = byClass.value, split = bySplit?.value ?? "";
    const matches = (card) => (!split || facts.get(card).splits.includes(split))
      && (!wanted || facts.get(card).iou.has(wanted));
    shown = inOrder(cards.filter(matches));
    place();
    first = new Set(shown.slice(0, KEPT));
    filled.forEach(empty);
    filled.forEach(draw); // with the map of the class that is looked for
    first.forEach(fill);
    choose(shown[0]);
    find("count").textContent = `${shown.length} of ${cards.length} images`;
  };

  // One card at a time can be reached by Tab; j and k move on.
  const choose = (card, focus) => {
    current?.querySelector(".open").setAttribute("tabindex", "-1");
    current = card;
    if (!card) return;
    const button = card.querySelector(".open");
    button.setAttribute("tabindex", "0");
    if (focus) {
      button.focus({ preventScroll: true });
      card.scrollIntoView({ block: "nearest" });
      fill(card);
    }
  };
  const step = (by) => shown[Math.min(Math.max(shown.indexOf(current) + by, 0), shown.length - 1)];

  const dialog = find("detail"), choices = find("detail-panels");
  let panel = "image";
  const show = (card) => {
    if (!card) return;
    choose(card);
    const panels = Array.from(card.querySelectorAll("figure"), (figure) => figure.dataset.panel);
    const at = panels.includes(panel) ? panel : panels[panels.length - 1];
    const [layers] = layersOf(card, at);
    find("detail-title").textContent = card.querySelector(".open").textContent;
    const score = card.querySelector(".miou")?.textContent ?? "";
    find("detail-place").textContent = `${shown.indexOf(card) + 1} of ${shown.length} ${score && "·"} ${score}`;
    const frame = find("detail-frame");
    for (const name of ["--w", "--h"]) frame.style.setProperty(name, card.style.getPropertyValue(name));
    frame.replaceChildren(...layers);
    choices.replaceChildren(...panels.map((name, place) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = `${place + 1} ${layersOf(card, name)[1]}`;
      button.setAttribute("aria-pressed", String(name === at));
      button.addEventListener("click", () => { panel = name; show(card); choices.children[place].focus(); });
      return button;
    }));
    find("detail-chips").replaceChildren(...Array.from(card.querySelectorAll(".chips li"), (chip) => chip.cloneNode(true)));
    if (!dialog.open) dialog.showModal();
  };
  const leaf = (by) => show(step(by));

  list.addEventListener("click", (event) => {
    const card = event.target.closest(".card");
    const figure = event.target.closest("figure");
    if (!card || !(figure || event.target.closest(".open"))) return;
    if (figure) panel = figure.dataset.panel;
    show(card);
  });
  list.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const by = { j: 1, k: -1 }[event.key];
    if (by) { event.preventDefault(); choose(step(by), true); }
  });
  dialog.addEventListener("keydown", (event) => {
    if (event.target.type === "range" || event.ctrlKey || event.metaKey || event.altKey) return;
    const by = { ArrowRight: 1, ArrowLeft: -1, j: 1, k: -1 }[event.key];
    const button = /^[1-9]$/.test(event.key) && choices.children[event.key - 1];
    if (by) leaf(by);
    else if (button) button.click();
    else return;
    event.preventDefault();
  });
  dialog.addEventListener("close", () => choose(current, true));
  find("close").addEventListener("click", () => dialog.close());
  find("previous").addEventListener("click", () => leaf(-1));
  find("next").addEventListener("click", () => leaf(1));

  const sliders = [find("opacity"), find("detail-opacity")];
  const blend = (value) => {
    document.documentElement.style.setProperty("--opacity", value / 100);
    for (const slider of sliders) {
      slider.value = value;
      slider.nextElementSibling.textContent = `${value} %`;
    }
  };
  for (const slider of sliders) slider.addEventListener("input", () => blend(slider.value));
  for (const select of [byClass, bySplit, order]) select?.addEventListener("change", update);
  find("tools").addEventListener("submit", (event) => event.preventDefault());
  blend(sliders[0].value);
  update();
})();
