// What the browser measured of a report: test_html_browser.py has the words for each.
(() => {
    const all = (what, inside = document) => [...inside.querySelectorAll(what)].filter(one => one.getClientRects().length);
    const box = one => (rect => [rect.x, rect.y, rect.right, rect.bottom])(one.getBoundingClientRect());
    const numbers = colour => colour.match(/[\d.]+/g).map(Number);
    const luminance = colour => numbers(colour).slice(0, 3)
        .map(part => part / 255).map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
        .reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
    const isClear = colour => numbers(colour)[3] === 0;
    const ground = one => (colour => !isClear(colour) ? colour : one.parentElement ? ground(one.parentElement) : "rgb(255, 255, 255)")
        (getComputedStyle(one).backgroundColor);
    const contrast = one => {
        const style = getComputedStyle(one);
        const both = [one.matches("svg text") ? style.fill : style.color, ground(one)].map(luminance).sort((a, b) => a - b);
        return (both[1] + 0.05) / (both[0] + 0.05);
    };
    const hasWords = one => [...one.childNodes].some(node => node.nodeType === Node.TEXT_NODE && node.data.trim());
    const words = all("body *").filter(one => hasWords(one) && !one.closest("title, desc, style"));
    return {
        page: [document.documentElement.scrollWidth, document.documentElement.clientWidth],
        rows: (one => [one.scrollWidth, one.clientWidth])(document.querySelector(".rows")),
        wide: [...document.querySelectorAll("#front ~ figure svg.wide")].map(svg => svg.getBoundingClientRect().width),
        narrow: [...document.querySelectorAll("#front ~ figure svg.narrow")].map(svg => svg.getBoundingClientRect().width),
        letters: all("svg text").map(text => parseFloat(getComputedStyle(text).fontSize) * text.getScreenCTM().a),
        labels: all("svg").map(svg => all(".label", svg).map(box)),
        texts: all("svg").map(svg => all("text", svg).map(text => [text.textContent, ...box(text)])),
        contrasts: words.map(one => [one.textContent.trim().slice(0, 40), contrast(one)]),
        outside: all("svg text").map(text => [text.textContent, ...box(text)])
            .filter(([, left, , right]) => left < 0 || right > document.documentElement.clientWidth),
        overfull: all("th, td").filter(cell => cell.scrollWidth > cell.clientWidth + 1).length,
        names: all(".long").map(name => name.getBoundingClientRect().height),
        title: document.title,
        scripts: document.scripts.length,
        mode: document.compatMode,
    };
})()
