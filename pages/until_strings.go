package pages

// ending has the texts of the built-in page in one language for maintenance whose end is
// known: "shortly" and "in a few minutes" might not be true then.
type ending struct {
	tag     string
	title   string
	message string
	back    string // when maintenance ends, with % for the time
	layout  string // of the time in UTC, see time.Layout; a script replaces it by the time in the visitor's time zone
}

// endings lists the same languages as translations, in the same order.
func endings() []ending {
	return []ending{
		{"en", "Down for maintenance", "We are carrying out maintenance. Thank you for your patience.", "Expected back: %", "2 January 2006, 15:04 UTC"},
		{"ar", "أعمال صيانة جارية", "نُجري حاليًا أعمال صيانة. شكرًا لصبركم.", "موعد العودة المتوقع: %", "2006/01/02 15:04 UTC"},
		{"de", "Wartungsarbeiten", "Wir führen gerade Wartungsarbeiten durch. Vielen Dank für Ihre Geduld.", "Voraussichtlich wieder da: %", "02.01.2006, 15:04 UTC"},
		{"es", "En mantenimiento", "Estamos realizando tareas de mantenimiento. Gracias por su paciencia.", "Vuelta prevista: %", "02/01/2006, 15:04 UTC"},
		{"fr", "Maintenance en cours", "Une opération de maintenance est en cours. Merci de votre patience.", "Retour prévu : %", "02/01/2006, 15:04 UTC"},
		{"hi", "रखरखाव जारी है", "अभी रखरखाव का काम चल रहा है। आपके धैर्य के लिए धन्यवाद।", "वापसी का अनुमानित समय: %", "02/01/2006, 15:04 UTC"},
		{"it", "Manutenzione in corso", "Stiamo effettuando un intervento di manutenzione. Grazie per la pazienza.", "Ritorno previsto: %", "02/01/2006, 15:04 UTC"},
		{"ja", "メンテナンス中です", "ただいまメンテナンスを行っています。ご不便をおかけして申し訳ございません。", "再開予定：%", "2006年1月2日 15:04 UTC"},
		{"ko", "점검 중입니다", "현재 점검 작업을 진행하고 있습니다. 기다려 주셔서 감사합니다.", "재개 예정: %", "2006년 1월 2일 15:04 UTC"},
		{"nl", "Onderhoud", "We voeren onderhoud uit. Dank voor uw geduld.", "Naar verwachting terug: %", "02-01-2006, 15:04 UTC"},
		{"pl", "Prace konserwacyjne", "Trwają prace konserwacyjne. Dziękujemy za cierpliwość.", "Przewidywany powrót: %", "02.01.2006, 15:04 UTC"},
		{"pt", "Em manutenção", "Estamos a fazer uma manutenção. Agradecemos a sua paciência.", "Regresso previsto: %", "02/01/2006, 15:04 UTC"},
		{"pt-BR", "Manutenção em andamento", "Estamos realizando uma manutenção. Agradecemos a paciência.", "Retorno previsto: %", "02/01/2006, 15:04 UTC"},
		{"ru", "Технические работы", "Идут технические работы. Спасибо за терпение.", "Ориентировочное время окончания: %", "02.01.2006, 15:04 UTC"},
		{"tr", "Bakım çalışması", "Bakım çalışması yapıyoruz. Sabrınız için teşekkür ederiz.", "Tahmini dönüş: %", "02.01.2006 15:04 UTC"},
		{"uk", "Технічні роботи", "Тривають технічні роботи. Дякуємо за терпіння.", "Орієнтовний час завершення: %", "02.01.2006, 15:04 UTC"},
		{"zh", "系统维护中", "系统正在维护，感谢您的耐心等待。", "预计恢复时间：%", "2006年1月2日 15:04 UTC"},
		{"zh-Hant", "系統維護中", "系統正在維護，感謝您的耐心等候。", "預計恢復時間：%", "2006年1月2日 15:04 UTC"},
	}
}
