package pages

// translation has the texts of the built-in page in one language.
type translation struct {
	tag     string // BCP 47, the language part of the body's key
	title   string
	again   string // label of the button that checks at once; in HTML only
	looked  string // when the page last checked, with % for the time; in HTML only
	message string
	note    string // that the page checks automatically; in HTML only
}

func (t translation) dir() string {
	if t.tag == "ar" {
		return "rtl"
	}
	return "ltr"
}

// translations lists all languages of the built-in page. Visitors who accept none of them
// get English (see pkg/pageserver).
func translations() []translation {
	return []translation{
		{"en", "We’ll be right back", "Try again now", "Last checked at %",
			"We are carrying out maintenance. The service will be available again shortly. Please try again in a few minutes.",
			"This page checks for you and continues as soon as we are back."},
		{"ar", "سنعود قريبًا", "حاول الآن", "آخر تحقق: %",
			"نُجري حاليًا أعمال صيانة، وستعود الخدمة إلى العمل بعد قليل. يُرجى المحاولة مرة أخرى بعد بضع دقائق.",
			"تتحقق هذه الصفحة تلقائيًا وتتابع فور عودة الخدمة."},
		{"de", "Wir sind gleich wieder da", "Jetzt erneut versuchen", "Zuletzt geprüft um %",
			"Wir führen gerade Wartungsarbeiten durch. Der Dienst steht in Kürze wieder zur Verfügung. Bitte versuchen Sie es in einigen Minuten erneut.",
			"Diese Seite prüft von selbst und geht weiter, sobald wir wieder da sind."},
		{"es", "Volvemos enseguida", "Reintentar ahora", "Última comprobación: %",
			"Estamos realizando tareas de mantenimiento. El servicio volverá a estar disponible en breve. Inténtelo de nuevo dentro de unos minutos.",
			"Esta página lo comprueba por sí sola y continuará en cuanto volvamos."},
		{"fr", "Nous revenons tout de suite", "Réessayer maintenant", "Dernière vérification : %",
			"Une opération de maintenance est en cours. Le service sera de nouveau disponible sous peu. Veuillez réessayer dans quelques minutes.",
			"Cette page vérifie d’elle-même et reprendra dès notre retour."},
		{"hi", "हम जल्द ही वापस आ रहे हैं", "अभी फिर कोशिश करें", "पिछली जाँच: %",
			"अभी रखरखाव का काम चल रहा है। सेवा थोड़ी ही देर में फिर से उपलब्ध होगी। कृपया कुछ मिनट बाद दोबारा कोशिश करें।",
			"यह पेज खुद जाँच करता रहता है और सेवा लौटते ही आगे बढ़ेगा।"},
		{"it", "Torniamo subito", "Riprova ora", "Ultimo controllo: %",
			"Stiamo effettuando un intervento di manutenzione. Il servizio sarà di nuovo disponibile a breve. La preghiamo di riprovare tra qualche minuto.",
			"Questa pagina controlla da sola e riprenderà non appena saremo di nuovo online."},
		{"ja", "まもなく再開します", "今すぐ再試行", "最終確認 %",
			"ただいまメンテナンスを行っています。サービスはまもなくご利用いただけるようになります。数分後にもう一度お試しください。",
			"このページは自動で確認し、再開し次第、続きを表示します。"},
		{"ko", "곧 다시 찾아뵙겠습니다", "지금 다시 시도", "마지막 확인: %",
			"현재 점검 작업을 진행하고 있습니다. 서비스는 곧 다시 이용하실 수 있습니다. 몇 분 후에 다시 시도해 주세요.",
			"이 페이지는 자동으로 확인하며, 서비스가 재개되면 바로 이어집니다."},
		{"nl", "We zijn zo terug", "Nu opnieuw proberen", "Laatst gecontroleerd om %",
			"We voeren onderhoud uit. De dienst is binnenkort weer beschikbaar. Probeer het over een paar minuten opnieuw.",
			"Deze pagina controleert het vanzelf en gaat verder zodra we terug zijn."},
		{"pl", "Zaraz wracamy", "Spróbuj teraz", "Ostatnie sprawdzenie: %",
			"Trwają prace konserwacyjne. Usługa będzie wkrótce ponownie dostępna. Prosimy spróbować ponownie za kilka minut.",
			"Ta strona sama to sprawdza i przejdzie dalej, gdy tylko wrócimy."},
		{"pt", "Voltamos já", "Tentar agora", "Última verificação: %",
			"Estamos a fazer uma manutenção. O serviço voltará a estar disponível em breve. Tente novamente dentro de alguns minutos.",
			"Esta página verifica sozinha e continua assim que voltarmos."},
		{"pt-BR", "Voltamos em instantes", "Tentar agora", "Última verificação: %",
			"Estamos realizando uma manutenção. O serviço estará disponível novamente em breve. Tente de novo em alguns minutos.",
			"Esta página verifica sozinha e continua assim que voltarmos."},
		{"ru", "Мы скоро вернёмся", "Проверить сейчас", "Последняя проверка: %",
			"Идут технические работы. Сервис снова станет доступен в ближайшее время. Пожалуйста, повторите попытку через несколько минут.",
			"Эта страница сама следит за этим и продолжит работу, как только сервис вернётся."},
		{"tr", "Birazdan dönüyoruz", "Şimdi yeniden dene", "Son denetim: %",
			"Bakım çalışması yapıyoruz. Hizmet kısa süre içinde yeniden kullanılabilir olacak. Lütfen birkaç dakika sonra tekrar deneyin.",
			"Bu sayfa kendiliğinden denetler ve hizmet döndüğünde devam eder."},
		{"uk", "Ми скоро повернемося", "Перевірити зараз", "Остання перевірка: %",
			"Тривають технічні роботи. Сервіс невдовзі знову стане доступним. Будь ласка, спробуйте ще раз за кілька хвилин.",
			"Ця сторінка перевіряє все сама й продовжить роботу, щойно сервіс повернеться."},
		{"zh", "我们马上回来", "立即重试", "上次检查：%",
			"系统正在维护，服务很快就会恢复。请过几分钟再试。",
			"本页面会自动检查，服务恢复后立即继续。"},
		{"zh-Hant", "我們馬上回來", "立即重試", "上次檢查：%",
			"系統正在維護，服務很快就會恢復。請過幾分鐘再試。",
			"本頁面會自動檢查，服務恢復後立即繼續。"},
	}
}
