package pages

// translation is what the built-in page says in one language.
type translation struct {
	tag     string // BCP 47, the language part of the body's key
	title   string
	message string
	// Shown in HTML only: that the page checks by itself, what the button to do
	// so at once says, and when it last did (% is the time).
	note, again, looked string
}

func (t translation) dir() string {
	if t.tag == "ar" {
		return "rtl"
	}
	return "ltr"
}

// translations lists every language of the built-in page. English is what a
// visitor gets whose languages are all missing here (see pageserver).
func translations() []translation {
	return []translation{
		{"en", "We’ll be right back",
			"We are carrying out maintenance. The service will be available again shortly. Please try again in a few minutes.",
			"This page checks for you and continues as soon as we are back.",
			"Try again now", "Last checked at %"},
		{"ar", "سنعود قريبًا",
			"نُجري حاليًا أعمال صيانة، وستعود الخدمة إلى العمل بعد قليل. يُرجى المحاولة مرة أخرى بعد بضع دقائق.",
			"تتحقق هذه الصفحة تلقائيًا وتتابع فور عودة الخدمة.",
			"حاول الآن", "آخر تحقق: %"},
		{"de", "Wir sind gleich wieder da",
			"Wir führen gerade Wartungsarbeiten durch. Der Dienst steht in Kürze wieder zur Verfügung. Bitte versuchen Sie es in einigen Minuten erneut.",
			"Diese Seite prüft von selbst und geht weiter, sobald wir wieder da sind.",
			"Jetzt erneut versuchen", "Zuletzt geprüft um %"},
		{"es", "Volvemos enseguida",
			"Estamos realizando tareas de mantenimiento. El servicio volverá a estar disponible en breve. Inténtelo de nuevo dentro de unos minutos.",
			"Esta página lo comprueba por sí sola y continuará en cuanto volvamos.",
			"Reintentar ahora", "Última comprobación: %"},
		{"fr", "Nous revenons tout de suite",
			"Une opération de maintenance est en cours. Le service sera de nouveau disponible sous peu. Veuillez réessayer dans quelques minutes.",
			"Cette page vérifie d’elle-même et reprendra dès notre retour.",
			"Réessayer maintenant", "Dernière vérification : %"},
		{"hi", "हम जल्द ही वापस आ रहे हैं",
			"अभी रखरखाव का काम चल रहा है। सेवा थोड़ी ही देर में फिर से उपलब्ध होगी। कृपया कुछ मिनट बाद दोबारा कोशिश करें।",
			"यह पेज खुद जाँच करता रहता है और सेवा लौटते ही आगे बढ़ेगा।",
			"अभी फिर कोशिश करें", "पिछली जाँच: %"},
		{"it", "Torniamo subito",
			"Stiamo effettuando un intervento di manutenzione. Il servizio sarà di nuovo disponibile a breve. La preghiamo di riprovare tra qualche minuto.",
			"Questa pagina controlla da sola e riprenderà non appena saremo di nuovo online.",
			"Riprova ora", "Ultimo controllo: %"},
		{"ja", "まもなく再開します",
			"ただいまメンテナンスを行っています。サービスはまもなくご利用いただけるようになります。数分後にもう一度お試しください。",
			"このページは自動で確認し、再開し次第、続きを表示します。",
			"今すぐ再試行", "最終確認 %"},
		{"ko", "곧 다시 찾아뵙겠습니다",
			"현재 점검 작업을 진행하고 있습니다. 서비스는 곧 다시 이용하실 수 있습니다. 몇 분 후에 다시 시도해 주세요.",
			"이 페이지는 자동으로 확인하며, 서비스가 재개되면 바로 이어집니다.",
			"지금 다시 시도", "마지막 확인: %"},
		{"nl", "We zijn zo terug",
			"We voeren onderhoud uit. De dienst is binnenkort weer beschikbaar. Probeer het over een paar minuten opnieuw.",
			"Deze pagina controleert het vanzelf en gaat verder zodra we terug zijn.",
			"Nu opnieuw proberen", "Laatst gecontroleerd om %"},
		{"pl", "Zaraz wracamy",
			"Trwają prace konserwacyjne. Usługa będzie wkrótce ponownie dostępna. Prosimy spróbować ponownie za kilka minut.",
			"Ta strona sama to sprawdza i przejdzie dalej, gdy tylko wrócimy.",
			"Spróbuj teraz", "Ostatnie sprawdzenie: %"},
		{"pt", "Voltamos já",
			"Estamos a fazer uma manutenção. O serviço voltará a estar disponível em breve. Tente novamente dentro de alguns minutos.",
			"Esta página verifica sozinha e continua assim que voltarmos.",
			"Tentar agora", "Última verificação: %"},
		{"pt-BR", "Voltamos em instantes",
			"Estamos realizando uma manutenção. O serviço estará disponível novamente em breve. Tente de novo em alguns minutos.",
			"Esta página verifica sozinha e continua assim que voltarmos.",
			"Tentar agora", "Última verificação: %"},
		{"ru", "Мы скоро вернёмся",
			"Идут технические работы. Сервис снова станет доступен в ближайшее время. Пожалуйста, повторите попытку через несколько минут.",
			"Эта страница сама следит за этим и продолжит работу, как только сервис вернётся.",
			"Проверить сейчас", "Последняя проверка: %"},
		{"tr", "Birazdan dönüyoruz",
			"Bakım çalışması yapıyoruz. Hizmet kısa süre içinde yeniden kullanılabilir olacak. Lütfen birkaç dakika sonra tekrar deneyin.",
			"Bu sayfa kendiliğinden denetler ve hizmet döndüğünde devam eder.",
			"Şimdi yeniden dene", "Son denetim: %"},
		{"uk", "Ми скоро повернемося",
			"Тривають технічні роботи. Сервіс невдовзі знову стане доступним. Будь ласка, спробуйте ще раз за кілька хвилин.",
			"Ця сторінка перевіряє все сама й продовжить роботу, щойно сервіс повернеться.",
			"Перевірити зараз", "Остання перевірка: %"},
		{"zh", "我们马上回来",
			"系统正在维护，服务很快就会恢复。请过几分钟再试。",
			"本页面会自动检查，服务恢复后立即继续。",
			"立即重试", "上次检查：%"},
		{"zh-Hant", "我們馬上回來",
			"系統正在維護，服務很快就會恢復。請過幾分鐘再試。",
			"本頁面會自動檢查，服務恢復後立即繼續。",
			"立即重試", "上次檢查：%"},
	}
}
