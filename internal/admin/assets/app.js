// Keeps a page up to date from the server's events, and asks before what
// cannot be undone. Without it the pages work the same, standing still.
"use strict";

document.addEventListener("submit", (event) => {
	const question = event.target.dataset.confirm;
	if (question && !window.confirm(question)) {
		event.preventDefault();
	}
});

(() => {
	const page = document.querySelector("[data-view]");
	if (!page || !window.EventSource) {
		return;
	}
	const mark = document.getElementById("live-mark");
	let source = null;
	let again = 0;

	// show puts new content into its place; what was unfolded stays so, and the
	// keyboard stays where it was.
	const show = (fragment) => {
		const place = document.getElementById(fragment.id);
		if (!place) {
			return;
		}
		const focused = place.contains(document.activeElement) ? document.activeElement.id : "";
		const unfolded = [...place.querySelectorAll("details[open]")].map((details) => details.id);
		place.innerHTML = fragment.html;
		for (const id of unfolded) {
			const details = id && document.getElementById(id);
			if (details) {
				details.open = true;
			}
		}
		const target = focused && document.getElementById(focused);
		if (target) {
			target.focus({ preventScroll: true });
		}
	};

	const say = (text, look) => {
		mark.textContent = text;
		mark.className = look;
	};

	const close = () => {
		window.clearTimeout(again);
		if (source) {
			source.close();
			source = null;
		}
	};

	const open = () => {
		close();
		const events = new URL(page.dataset.events, window.location.href);
		events.searchParams.set("view", page.dataset.view);
		source = new EventSource(events);
		source.onopen = () => say("Updates itself", "on");
		source.onmessage = (event) => show(JSON.parse(event.data));
		source.onerror = () => {
			say("Does not update itself now; reload the page", "off");
			if (source && source.readyState === EventSource.CLOSED) {
				again = window.setTimeout(open, 15000);
			}
		};
	};

	// A tab that nobody sees needs no stream; browsers open few per server.
	document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
	window.addEventListener("pagehide", close);
	window.addEventListener("pageshow", (event) => event.persisted && open());
	if (!document.hidden) {
		open();
	}
})();
