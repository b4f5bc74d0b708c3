"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const place = `miras-people-${data.study}-${data.rater}`;
  const cards = [...document.querySelectorAll(".card")];
  const by = (id) => document.getElementById(id);
  const questions = (card) => [...card.querySelectorAll("fieldset")];
  const given = (question) => question.querySelector("input:checked");
  const open = (card) => questions(card).filter((question) => !given(question));
  const note = (text) => { by("note").textContent = text; };
  let now = 0;

  function load() {
    try {
      const kept = JSON.parse(localStorage.getItem(place) || "{}");
      for (const input of document.querySelectorAll("input[type=radio]")) input.checked = kept.answers?.[input.name] === input.value;
      return Number.isInteger(kept.at) ? Math.min(Math.max(kept.at, 0), cards.length - 1) : 0;
    } catch {
      note("This browser keeps no answers for this page: save before you close it.");
      return 0;
    }
  }

  function keep() {
    const answers = {};
    for (const input of document.querySelectorAll("input:checked")) answers[input.name] = input.value;
    try {
      localStorage.setItem(place, JSON.stringify({ at: now, answers }));
    } catch {
      note("This browser keeps no answers for this page: save before you close it.");
    }
  }

  function count() {
    const done = cards.filter((card) => !open(card).length).length;
    by("bar").value = done;
    by("done").textContent = `${done} of ${cards.length} finished`;
    for (const question of document.querySelectorAll("fieldset")) question.classList.toggle("answered", Boolean(given(question)));
    by("back").disabled = now === 0;
    by("next").disabled = now === cards.length - 1;
    by("open").disabled = done === cards.length;
  }

  function draw(card) {
    for (const image of card.querySelectorAll("img:not([src])")) image.src = data.pictures[image.dataset.picture];
  }

  function show(index) {
    now = index;
    cards.forEach((card, number) => { card.hidden = number !== now; });
    draw(cards[now]);
    if (cards[now + 1]) draw(cards[now + 1]);
    count();
    keep();
    window.scrollTo(0, 0);
    cards[now].querySelector("h2").focus({ preventScroll: true });
  }

  function step(by_) {
    if (cards[now + by_]) show(now + by_);
  }

  function nextOpen() {
    const order = [...cards.keys()].map((number) => (now + 1 + number) % cards.length);
    const found = order.find((number) => open(cards[number]).length);
    if (found !== undefined) show(found);
  }

  function answer(question, value) {
    const input = question && [...question.querySelectorAll("input")].find((one) => one.value === value);
    if (!input) return false;
    input.checked = true;
    note("");
    count();
    keep();
    const own = questions(cards[now]);
    const after = own.slice(own.indexOf(question) + 1).concat(own).find((one) => !given(one));
    after?.scrollIntoView({ block: "nearest" });
    (after ? after.querySelector("input") : now < cards.length - 1 ? by("next") : by("save")).focus();
    return true;
  }

  function current() {
    return document.activeElement?.closest?.("fieldset") || open(cards[now])[0];
  }

  function save() {
    const rows = [data.columns];
    for (const card of cards) {
      for (const question of questions(card)) {
        rows.push([card.dataset.card, question.dataset.question, given(question)?.value ?? "", data.rater]);
      }
    }
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([rows.map((row) => row.join(",")).join("\r\n") + "\r\n"], { type: "text/csv" }));
    link.download = `rater_${data.rater}.csv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    const missing = rows.filter((row) => row[2] === "").length;
    note(`${link.download} was saved` + (missing ? `; ${missing} questions are still open.` : ", complete. Please send it back."));
  }

  function ask() {
    const unfinished = cards.flatMap((card, number) => (open(card).length ? [number] : []));
    if (!unfinished.length) return save();
    const missing = unfinished.reduce((sum, number) => sum + open(cards[number]).length, 0);
    by("unfinished-text").textContent = `${missing} questions of ${unfinished.length} conversations are open:`;
    by("unfinished-list").textContent = unfinished.map((number) => number + 1).join(", ");
    by("go-on").onclick = () => { by("unfinished").close(); show(unfinished[0]); };
    by("unfinished").showModal();
  }

  const KEYS = { ArrowLeft: "left", ArrowRight: "right", ArrowDown: "equal", y: "yes", n: "no" };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || by("unfinished").open) return;
    if (event.key === "PageDown") { step(1); event.preventDefault(); }
    else if (event.key === "PageUp") { step(-1); event.preventDefault(); }
    else if (answer(current(), KEYS[event.key] ?? event.key)) event.preventDefault();
  });
  document.addEventListener("change", () => { count(); keep(); });
  window.addEventListener("beforeprint", () => cards.forEach(draw));
  by("back").onclick = () => step(-1);
  by("next").onclick = () => step(1);
  by("open").onclick = nextOpen;
  by("save").onclick = ask;
  by("save-partial").onclick = () => { by("unfinished").close(); save(); };
  for (const form of document.forms) form.onsubmit = () => false;
  show(load());
})();
